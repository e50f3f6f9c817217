-- database: legacy_latin1
-- A database in another encoding: what a client writes in UTF-8 is stored as LATIN1.
BEGIN;
SET client_encoding = 'UTF8';
CREATE TABLE noms (id integer PRIMARY KEY, nom text);
INSERT INTO noms VALUES (1, 'Noël'), (2, 'garçon'), (3, 'ÿ£§');
COMMENT ON TABLE noms IS 'prénoms';
COMMIT;
