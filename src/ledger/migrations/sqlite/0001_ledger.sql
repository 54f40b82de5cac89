-- The log. A leaf is exactly the stored bytes; nothing here is ever updated or deleted (the triggers are a defence, the tree is the evidence).
CREATE TABLE entry (
    idx  INTEGER PRIMARY KEY,
    id   TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL,
    leaf TEXT NOT NULL
) STRICT;
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'the log is insert-only'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'the log is insert-only'); END;

-- Look-ups are computed from the leaf itself: there is no index row that could say something else.
CREATE INDEX entry_call  ON entry (json_extract(leaf, '$.call'), idx);
CREATE INDEX entry_agent ON entry (json_extract(leaf, '$.agent.id'), idx);
CREATE INDEX entry_human ON entry (json_extract(leaf, '$.human.sub_id'), idx);
CREATE INDEX entry_appr  ON entry (json_extract(leaf, '$.appr.id'), idx);

-- The tree's frontier and the signed head: one row.
CREATE TABLE head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    size     INTEGER NOT NULL,
    note     TEXT NOT NULL,
    ts       TEXT NOT NULL,
    rs       INTEGER NOT NULL
) STRICT;

-- Checkpoints that were in force, at most one a second.
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL
) STRICT;
CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints are insert-only'); END;
CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints are insert-only'); END;

-- Contiguous counters per agent and per human: a trail proves itself complete.
CREATE TABLE counter (
    subject TEXT PRIMARY KEY,
    n       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- State rows.
CREATE TABLE row (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    id         TEXT NOT NULL,
    state      TEXT NOT NULL,
    key        TEXT NOT NULL,
    grp        TEXT NOT NULL,
    expires_us INTEGER,
    version    INTEGER NOT NULL,
    body       BLOB NOT NULL,
    UNIQUE (kind, id)
) STRICT;
CREATE INDEX row_key   ON row (kind, key) WHERE key <> '';
CREATE INDEX row_state ON row (kind, state, seq);
CREATE INDEX row_group ON row (kind, grp, state) WHERE grp <> '';

-- Payloads: ciphertext and, apart from it, what opens it. Erasing the key row erases the payload.
CREATE TABLE payload (
    commitment TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    class      TEXT NOT NULL,
    len        INTEGER NOT NULL,
    ct_sha256  TEXT NOT NULL
) STRICT;
CREATE TABLE payload_chunk (
    commitment TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    ciphertext BLOB NOT NULL,
    PRIMARY KEY (commitment, seq)
) STRICT;
CREATE TABLE payload_key (
    commitment TEXT PRIMARY KEY,
    salt       BLOB NOT NULL,
    wrapped    BLOB NOT NULL,
    kek        TEXT NOT NULL
) STRICT;
