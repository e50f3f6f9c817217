-- database: Öther "Db"
-- A database whose name has to be quoted everywhere.
BEGIN;
CREATE TABLE "Täble" (id integer PRIMARY KEY, v text);
INSERT INTO "Täble" VALUES (1, 'ä'), (2, NULL), (3, E'\r\n');
ALTER TABLE "Täble" OWNER TO "Case Worker ""Ö"" 'x' \y";
CREATE FUNCTION "Fn ""q"""() RETURNS integer LANGUAGE sql AS 'SELECT 1';
COMMIT;
