-- database: primero_production
-- Roles, memberships, settings and databases: everything that lives outside of a single database.

CREATE ROLE primero_owner NOLOGIN;
COMMENT ON ROLE primero_owner IS E'owns the application''s tables\r\nsecond line — ünïcode \\ "quoted"';
CREATE ROLE readers NOLOGIN NOINHERIT;
CREATE ROLE editors NOLOGIN CONNECTION LIMIT 7;
CREATE ROLE reporting LOGIN PASSWORD 'it''s a $ecret "pass\word" ü' VALID UNTIL '2031-05-06 07:08:09+00'
    CONNECTION LIMIT 3;
-- The hash as an old server stored it: md5 of 'legacy' and the role's name.
CREATE ROLE legacy_md5 LOGIN PASSWORD 'md5d9c0f1f6f6d3ac9ff6c9b06d9bd5e56f';
SET password_encryption = 'scram-sha-256';
CREATE ROLE modern_scram LOGIN PASSWORD 'modern';
RESET password_encryption;
CREATE ROLE auditor NOLOGIN BYPASSRLS CREATEROLE CREATEDB REPLICATION VALID UNTIL 'infinity';
CREATE ROLE expired LOGIN PASSWORD 'expired' VALID UNTIL '2001-01-01';
CREATE ROLE "Case Worker ""Ö"" 'x' \y" LOGIN;
COMMENT ON ROLE "Case Worker ""Ö"" 'x' \y" IS 'a name that has to be quoted';

GRANT readers TO editors;
GRANT readers TO reporting WITH ADMIN OPTION;
GRANT editors TO "Case Worker ""Ö"" 'x' \y";
GRANT primero_owner TO primero;
GRANT pg_monitor TO auditor;
GRANT pg_read_all_settings TO reporting;

CREATE DATABASE solr_meta TEMPLATE template0 OWNER primero_owner ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'
    CONNECTION LIMIT 50;
COMMENT ON DATABASE solr_meta IS 'search index bookkeeping; collation C';
CREATE DATABASE "Öther ""Db""" OWNER "Case Worker ""Ö"" 'x' \y";
COMMENT ON DATABASE "Öther ""Db""" IS E'capitals, a space, quotes,\ttab and ünïcode';
CREATE DATABASE legacy_latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE nothing_in_it;

REVOKE CONNECT, TEMPORARY ON DATABASE solr_meta FROM PUBLIC;
GRANT CONNECT ON DATABASE solr_meta TO readers;
GRANT CONNECT, TEMPORARY, CREATE ON DATABASE solr_meta TO editors WITH GRANT OPTION;
GRANT TEMPORARY ON DATABASE primero_production TO readers;

ALTER ROLE reporting SET statement_timeout = '90s';
ALTER ROLE reporting SET search_path = 'reports', '$user', 'public';
ALTER ROLE reporting IN DATABASE primero_production SET work_mem = '16MB';
ALTER ROLE reporting IN DATABASE "Öther ""Db""" SET "app.tenant" = E'o''brien \\ ü';
ALTER ROLE "Case Worker ""Ö"" 'x' \y" SET DateStyle = 'German, DMY';
ALTER DATABASE primero_production SET default_text_search_config = 'pg_catalog.simple';
ALTER DATABASE primero_production SET "app.country" = 'Côte d''Ivoire';
ALTER DATABASE solr_meta SET timezone = 'Asia/Kathmandu';
ALTER DATABASE solr_meta SET search_path = 'meta', 'public';
ALTER DATABASE "Öther ""Db""" SET log_min_duration_statement = '5s';
