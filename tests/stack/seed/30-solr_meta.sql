-- database: solr_meta
-- A second database of the deployment, with another collation and its own schema.
BEGIN;
CREATE SCHEMA meta AUTHORIZATION primero_owner;
CREATE TABLE meta.cores (name text PRIMARY KEY, docs bigint NOT NULL DEFAULT 0, config jsonb);
INSERT INTO meta.cores SELECT 'core_' || i, i * 1001, jsonb_build_object('i', i) FROM generate_series(1, 100) i;
ALTER TABLE meta.cores OWNER TO primero_owner;
GRANT SELECT ON meta.cores TO readers;
CREATE EXTENSION pgcrypto SCHEMA meta;
-- The same large object number as in the other database, with other content.
SELECT lo_from_bytea(70001, '\xcafe');
COMMIT;
