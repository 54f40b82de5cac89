-- Rows that wait for their time (`expires_us`), in turn, within their group.
CREATE INDEX row_due ON row (kind, grp, state, expires_us) WHERE grp <> '' AND expires_us IS NOT NULL;
