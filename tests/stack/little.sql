-- database: primero_production
-- Enough to see a loss, and dumped in a moment. The whole variety of objects is in `seed`.
-- Clients write to this one while a stack is upgraded; it is compared by itself.
CREATE TABLE acknowledged (n bigint PRIMARY KEY);
CREATE TABLE cases (id int PRIMARY KEY, name text, data jsonb);
INSERT INTO cases SELECT i, 'case ' || i, jsonb_build_object('n', i) FROM generate_series(1, 2000) i;
CREATE TABLE notes (id serial PRIMARY KEY, note bytea);
INSERT INTO notes (note) SELECT decode(md5(i::text), 'hex') FROM generate_series(1, 500) i;
CREATE INDEX ON cases USING gin (data);
CREATE TABLE empty_one (x int);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM cases;
CREATE TABLE "Odd Name" AS SELECT i, E'tab\there' || i AS note FROM generate_series(1, 100) i;
CREATE TABLE partitioned (i int) PARTITION BY RANGE (i);
CREATE TABLE part_one PARTITION OF partitioned FOR VALUES FROM (0) TO (100);
INSERT INTO partitioned SELECT generate_series(1, 50);
SELECT lo_from_bytea(0, '\x0102030405');
CREATE ROLE reporting LOGIN PASSWORD 'secret';
GRANT SELECT ON cases TO reporting;
