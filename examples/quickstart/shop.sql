-- The shop of the quickstart: customers with personal data, products, orders, payments, notes. Deterministic; every person in it is made up, the
-- card numbers are test numbers that issuers publish, the social security numbers lie in the advertising range.
PRAGMA journal_mode = WAL;
BEGIN;

CREATE TABLE customers (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    email         TEXT NOT NULL UNIQUE,
    phone         TEXT NOT NULL,
    ssn           TEXT NOT NULL,
    date_of_birth TEXT NOT NULL,
    city          TEXT NOT NULL,
    address       TEXT NOT NULL,
    card_number   TEXT NOT NULL,
    tier          TEXT NOT NULL CHECK (tier IN ('basic', 'plus', 'business')),
    created_at    TEXT NOT NULL
);
CREATE TABLE products (
    id    INTEGER PRIMARY KEY,
    sku   TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    price_cents INTEGER NOT NULL CHECK (price_cents > 0),
    stock INTEGER NOT NULL
);
CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    status      TEXT NOT NULL CHECK (status IN ('open', 'paid', 'shipped', 'refunded', 'cancelled')),
    total_cents INTEGER NOT NULL,
    ordered_at  TEXT NOT NULL
);
CREATE TABLE order_items (
    order_id   INTEGER NOT NULL REFERENCES orders (id),
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, product_id)
);
CREATE TABLE payments (
    id           INTEGER PRIMARY KEY,
    order_id     INTEGER NOT NULL REFERENCES orders (id),
    card_number  TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    paid_at      TEXT NOT NULL
);
CREATE TABLE support_notes (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    body        TEXT NOT NULL,
    written_at  TEXT NOT NULL
);
CREATE INDEX orders_customer ON orders (customer_id, ordered_at);
CREATE INDEX payments_order ON payments (order_id);

CREATE TEMP TABLE word (kind TEXT, n INTEGER, text TEXT);
INSERT INTO word VALUES
    ('first', 0, 'Ada'), ('first', 1, 'Bruno'), ('first', 2, 'Clara'), ('first', 3, 'Diego'), ('first', 4, 'Elif'), ('first', 5, 'Farid'),
    ('first', 6, 'Greta'), ('first', 7, 'Hugo'), ('first', 8, 'Ines'), ('first', 9, 'Jonas'), ('first', 10, 'Kiri'), ('first', 11, 'Lena'),
    ('first', 12, 'Marek'), ('first', 13, 'Nadia'), ('first', 14, 'Omar'), ('first', 15, 'Petra'), ('first', 16, 'Quinn'), ('first', 17, 'Rosa'),
    ('first', 18, 'Sven'), ('first', 19, 'Tomas'), ('first', 20, 'Uma'), ('first', 21, 'Viktor'), ('first', 22, 'Wanda'),
    ('last', 0, 'Abbott'), ('last', 1, 'Becker'), ('last', 2, 'Castillo'), ('last', 3, 'Dahl'), ('last', 4, 'Evans'), ('last', 5, 'Fischer'),
    ('last', 6, 'Garcia'), ('last', 7, 'Haddad'), ('last', 8, 'Ivanov'), ('last', 9, 'Jensen'), ('last', 10, 'Kowalski'), ('last', 11, 'Larsen'),
    ('last', 12, 'Meyer'), ('last', 13, 'Novak'), ('last', 14, 'Okafor'), ('last', 15, 'Petrov'), ('last', 16, 'Rossi'), ('last', 17, 'Silva'),
    ('last', 18, 'Tanaka'),
    ('city', 0, 'Berlin'), ('city', 1, 'Lisbon'), ('city', 2, 'Oslo'), ('city', 3, 'Porto'), ('city', 4, 'Prague'), ('city', 5, 'Turin'), ('city', 6, 'Vienna'),
    ('thing', 0, 'Kettle'), ('thing', 1, 'Lamp'), ('thing', 2, 'Desk'), ('thing', 3, 'Chair'), ('thing', 4, 'Mug'), ('thing', 5, 'Rug'), ('thing', 6, 'Shelf'), ('thing', 7, 'Clock'),
    ('look', 0, 'Walnut'), ('look', 1, 'Steel'), ('look', 2, 'Linen'), ('look', 3, 'Copper'), ('look', 4, 'Oak'),
    ('card', 0, '4111111111111111'), ('card', 1, '5555555555554444'), ('card', 2, '378282246310005'), ('card', 3, '6011111111111117'),
    ('card', 4, '4012888888881881'), ('card', 5, '5105105105105100'), ('card', 6, '3566002020360505');

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
INSERT INTO customers
SELECT i,
       f.text || ' ' || l.text,
       lower(f.text) || '.' || lower(l.text) || i || '@example.com',
       printf('+1-555-%03d-%04d', (i * 37) % 900 + 100, (i * 7919) % 10000),
       printf('987-65-43%02d', 20 + i % 10),
       date('1955-01-01', printf('+%d days', (i * 131) % 17000)),
       c.text,
       printf('%d %s Street', (i * 17) % 180 + 1, l.text),
       k.text,
       CASE i % 10 WHEN 0 THEN 'business' WHEN 3 THEN 'plus' WHEN 7 THEN 'plus' ELSE 'basic' END,
       strftime('%Y-%m-%dT%H:%M:%SZ', '2023-01-01', printf('+%d hours', i * 53))
FROM n
JOIN word f ON f.kind = 'first' AND f.n = i % 23
JOIN word l ON l.kind = 'last' AND l.n = (i * 7) % 19
JOIN word c ON c.kind = 'city' AND c.n = (i * 3) % 7
JOIN word k ON k.kind = 'card' AND k.n = (i * 5) % 7;

WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39)
INSERT INTO products
SELECT i + 1, printf('SKU-%04d', 1000 + i), k.text || ' ' || t.text, 900 + (i * 613) % 24000, (i * 29) % 140
FROM n JOIN word t ON t.kind = 'thing' AND t.n = i % 8 JOIN word k ON k.kind = 'look' AND k.n = i / 8;

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
INSERT INTO orders
SELECT i, (i * 191) % 400 + 1,
       CASE WHEN i % 17 = 0 THEN 'cancelled' WHEN i % 23 = 0 THEN 'refunded' WHEN i > 1440 THEN 'open' WHEN i > 1300 THEN 'paid' ELSE 'shipped' END,
       0,
       strftime('%Y-%m-%dT%H:%M:%SZ', '2024-01-01', printf('+%d hours', i * 11))
FROM n;

INSERT INTO order_items
SELECT o.id, (o.id * 13 + p.n * 7) % 40 + 1, (o.id + p.n) % 3 + 1
FROM orders o JOIN (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2) p ON p.n <= o.id % 3;

UPDATE orders SET total_cents = (SELECT sum(i.quantity * p.price_cents) FROM order_items i JOIN products p ON p.id = i.product_id WHERE i.order_id = orders.id);

INSERT INTO payments (order_id, card_number, amount_cents, paid_at)
SELECT o.id, c.card_number, o.total_cents, datetime(o.ordered_at, '+20 minutes')
FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.status IN ('paid', 'shipped', 'refunded');

INSERT INTO support_notes (customer_id, body, written_at)
SELECT id,
       CASE id % 3
           WHEN 0 THEN name || ' asked to move the delivery; write to ' || email || ' when it is done.'
           WHEN 1 THEN 'Called from ' || phone || ': the invoice of last month is missing.'
           ELSE 'Card ' || substr(card_number, 1, 4) || ' ' || substr(card_number, 5, 4) || ' ' || substr(card_number, 9, 4) || ' ' || substr(card_number, 13) || ' was declined; paid by transfer.'
       END,
       datetime(created_at, '+40 days')
FROM customers WHERE id % 4 = 1;

CREATE VIEW order_overview AS
SELECT o.id, o.status, o.total_cents, o.ordered_at, c.name AS customer, c.email AS contact, c.city
FROM orders o JOIN customers c ON c.id = o.customer_id;
CREATE VIEW revenue_by_city AS
SELECT c.city, count(*) AS orders, sum(o.total_cents) AS total_cents
FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.status IN ('paid', 'shipped') GROUP BY c.city;

DROP TABLE word;
COMMIT;
