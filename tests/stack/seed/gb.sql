-- database: primero_production
-- A database of more than a gigabyte, of data that compresses like real data, always the same; or, with `parts` set,
-- of so much less.
\if :{?parts}
\else
\set parts 1
\endif
SET maintenance_work_mem = '512MB';
SET synchronous_commit = off;
SET work_mem = '64MB';
CREATE SCHEMA big;

-- Five million small rows, in the manner of pgbench.
CREATE TABLE big.accounts (aid integer NOT NULL, bid integer NOT NULL, balance bigint NOT NULL,
    changed timestamptz NOT NULL, filler text);
INSERT INTO big.accounts
SELECT i, 1 + i / 100000, (i::bigint * 7919) % 1000003 - 500000,
    timestamptz '2021-01-01 00:00+00' + i * interval '17 seconds',
    'account ' || i || ' of branch ' || 1 + i / 100000 || ', ' || left(md5(i::text), 12)
FROM generate_series(1, 5000000 / :parts) i;
ALTER TABLE big.accounts ADD PRIMARY KEY (aid);
CREATE INDEX accounts_changed ON big.accounts (changed);

-- Case files: uuid, jsonb, long text.
CREATE TABLE big.cases (id uuid NOT NULL, case_no bigint NOT NULL, data jsonb NOT NULL, notes text,
    amount numeric(14, 4), created_at timestamptz NOT NULL);
INSERT INTO big.cases
SELECT h::uuid, i,
    jsonb_build_object('name', 'Child ' || i, 'name_other', left(h, 10), 'sex', (ARRAY['male', 'female'])[1 + i % 2],
        'age', i % 18, 'registration_date', date '2019-01-01' + i % 2000,
        'location_current', 'country.r' || i % 10 || '.d' || i % 120,
        'protection_concerns', jsonb_build_array('concern_' || i % 7, 'concern_' || i % 13), 'consent', i % 3 = 0,
        'services', jsonb_build_array(jsonb_build_object(
            'type', 'service_' || i % 9, 'provider', left(md5(h), 8), 'days', i % 91))),
    'Interview no. ' || i || ' with the family in district ' || i % 120 || '. '
        || repeat('The child was seen at home; follow-up in ' || i % 30
            || ' days, reference ' || substr(h, 8, 6) || '. ', 3 + i % 5)
        || md5(h) || md5('n' || h),
    (i * 37 % 1000003) / 7.0, timestamptz '2019-01-01 00:00+00' + i * interval '4 minutes'
FROM (SELECT i, md5('big ' || i) AS h FROM generate_series(1, 400000 / :parts) i) s;
ALTER TABLE big.cases ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX cases_no ON big.cases (case_no);
CREATE INDEX cases_location ON big.cases ((data ->> 'location_current'));

-- Photographs: bytes that hardly compress.
CREATE TABLE big.photos (id integer PRIMARY KEY, case_id uuid NOT NULL, content bytea NOT NULL);
ALTER TABLE big.photos ALTER COLUMN content SET STORAGE EXTERNAL;
INSERT INTO big.photos
SELECT i, md5('big ' || i)::uuid,
    (SELECT string_agg(sha512((i || ':' || k)::text::bytea), '') FROM generate_series(1, 500) k)
FROM generate_series(1, 3000 / :parts) i;
CHECKPOINT;
