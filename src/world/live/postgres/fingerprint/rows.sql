-- What reads rows, and values of sequences. As in database.sql; and
--
-- @name(SCHEMA, NAME) a name as SQL writes it, quoted where it is anything but a lower-case word
-- @tables             tables whose rows are the site's. What an extension keeps in its own is the extension's, but for
--                     the rows that it hands to dumps. Rows of materialized views are computed from others', at a time
--                     of their own
-- @oids               which tables
-- @hash               joins the expression of a row's hash to @tables; see the kind of that name

-- Bytes, and the locks that reading it takes: its own and its indexes'. A server that follows has no unlogged rows.
-- @kind tables
SELECT jsonb_build_array('size', c.oid::bigint, @name(root_schema, root), pg_table_size(c.oid),
    2 + (SELECT count(*) FROM pg_index WHERE indrelid = c.oid), relpersistence = 'u' AND pg_is_in_recovery())
FROM @tables;

-- A statement for each table.
-- @kind counts
SELECT format('SELECT jsonb_build_array(''rows'', %L, count(*)) FROM ONLY %I.%I%s', @name(root_schema, root), nspname,
    relname, ' ' || condition)
FROM @tables WHERE c.oid IN (@oids) \gexec

-- The same with a hash.
-- @kind hashes
SELECT format('SELECT jsonb_build_array(''rows'', %L, count(*), coalesce(sum(%s), 0)::text) FROM ONLY %I.%I%s',
    @name(root_schema, root), coalesce(hash, '0'), nspname, relname, ' ' || condition)
FROM @tables @hash
WHERE c.oid IN (@oids) \gexec

-- A row's hash, as an expression. It is made of those of the columns, each with its name: neither the order of
-- rows nor that of columns counts, nor in which partition a row is. Plain types have hashes that are the same in all
-- versions, because hash partitions rest on them. Of others the text is hashed, as the type's own function prints it,
-- and of bytes a hash. What a generated column computes when it is read is told by its definition.
-- @kind hash
CROSS JOIN LATERAL (
    SELECT string_agg(format('coalesce(%s, %s)', CASE kind
            WHEN 'int2' THEN format('hashint2extended(%I, %s)', attname, seed)
            WHEN 'int4' THEN format('hashint4extended(%I, %s)', attname, seed)
            WHEN 'int8' THEN format('hashint8extended(%I, %s)', attname, seed)
            WHEN 'bool' THEN format('hashint4extended(%I::int4, %s)', attname, seed)
            WHEN 'uuid' THEN format('uuid_hash_extended(%I, %s)', attname, seed)
            WHEN 'timestamp' THEN format('timestamp_hash_extended(%I, %s)', attname, seed)
            WHEN 'timestamptz' THEN format('timestamp_hash_extended(%I::timestamp, %s)', attname, seed)
            WHEN 'text' THEN format('hashtextextended(%I::text COLLATE "C", %s)', attname, seed)
            WHEN 'varchar' THEN format('hashtextextended(%I::text COLLATE "C", %s)', attname, seed)
            WHEN 'bytea' THEN format('hashtextextended(encode(sha256(%I), ''hex'') COLLATE "C", %s)', attname, seed)
            -- Names, which only some versions quote.
            WHEN 'reg' THEN format('hashtextextended(replace(textin(%s(%I)), ''"'', '''') COLLATE "C", %s)',
                output, attname, seed)
            ELSE format('hashtextextended(textin(%s(%I)) COLLATE "C", %s)', output, attname, seed) END, of_null),
        ' # ') AS hash
    FROM (
        SELECT attname, format('%L::bigint', seed) AS seed, format('%L::bigint', seed / 2) AS of_null,
            format('%I.%I', pn.nspname, proname) AS output,
            CASE WHEN b.typnamespace <> 'pg_catalog'::regnamespace THEN ''
                WHEN b.typname LIKE 'reg%' THEN 'reg' ELSE b.typname END AS kind
        FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
            JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
            JOIN pg_proc p ON p.oid = t.typoutput JOIN pg_namespace pn ON pn.oid = pronamespace
            CROSS JOIN hashtextextended(attname::text COLLATE "C", 0) AS seed
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
            AND coalesce(to_json(a) ->> 'attgenerated', '') <> 'v') AS a) AS h

-- Which tables can't be read, why, how many of their rows that is, and where the first ones are. A page that can't be
-- read ends the search in its table: the reason has its number. The block of each table leaves a line in a setting.
-- @kind damage
SELECT format('DO %L', format('
DECLARE
    it record; reason text; amount bigint := 0; places jsonb := ''[]'';
BEGIN
    BEGIN
        PERFORM sum(%2$s) FROM ONLY %3$I.%4$I%5$s;
        RETURN;
    EXCEPTION WHEN OTHERS THEN reason := SQLERRM;
    END;
    BEGIN
        FOR it IN SELECT ctid AS place FROM ONLY %3$I.%4$I%5$s LOOP
            BEGIN
                PERFORM %2$s FROM ONLY %3$I.%4$I WHERE ctid = it.place;
            EXCEPTION WHEN OTHERS THEN
                amount := amount + 1;
                IF amount <= 5 THEN places := places || to_jsonb(it.place::text); END IF;
            END;
        END LOOP;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    PERFORM set_config(''pgscript.damage'', concat(current_setting(''pgscript.damage'', true),
        jsonb_build_array(%1$L, reason, amount, places), E''\n''), false);
END', @name(nspname, relname), coalesce(hash, '0'), nspname, relname, ' ' || condition))
FROM @tables @hash
WHERE NOT (relpersistence = 'u' AND pg_is_in_recovery()) \gexec
SELECT current_setting('pgscript.damage', true);

-- @kind sequences
SELECT format('SELECT jsonb_build_array(''value'', %L, last_value, is_called) FROM %I.%I',
    @name(nspname, relname), nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'S' AND nspname !~ '^pg_temp' AND c.oid::bigint % @of = @share
    AND NOT (relpersistence = 'u' AND pg_is_in_recovery())
    AND (@own(pg_class, c.oid) OR EXISTS (SELECT FROM pg_extension WHERE c.oid = ANY (extconfig))) \gexec

-- In pieces of a size that a server reads at once.
-- @kind large objects
SELECT jsonb_build_array('content of large object', jsonb_build_array(loid::text), jsonb_build_object('hash', sum(
    hashtextextended(encode(sha256(lo_get(loid, piece * 4194304, 4194304)), 'hex') COLLATE "C", piece))::text))
FROM (
    SELECT loid, max(pageno)::bigint * current_setting('block_size')::bigint / 4 / 4194304 AS last
    FROM pg_largeobject GROUP BY loid) AS o CROSS JOIN LATERAL generate_series(0, last) AS piece
GROUP BY loid;

-- Views and sequences, and how many relations all transactions can lock together.
-- @kind numbers
SELECT jsonb_build_array('numbers',
    count(*) FILTER (WHERE relkind IN ('v', 'm')), count(*) FILTER (WHERE relkind = 'S'),
    current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int)
FROM pg_class WHERE oid >= 16384;

-- @kind facts
SELECT jsonb_build_array('facts', (SELECT count(*) FROM pg_largeobject_metadata),
    (SELECT coalesce(jsonb_object_agg(extname, extversion), '{}') FROM pg_extension));

-- A server that has crashed begins to count anew. From 15 on only the cluster's own counters say so.
-- @kind statistics
SELECT jsonb_build_array('statistics', jsonb_build_object(
    'since', (SELECT CASE WHEN current_setting('track_counts')::bool
            THEN concat_ws('/', coalesce(extract(epoch FROM d.stats_reset)::text, '-'),
                coalesce(extract(epoch FROM b.stats_reset)::text, '-')) ELSE '' END
        FROM pg_stat_database d, pg_stat_bgwriter b WHERE d.datname = current_database()),
    'tables', (SELECT coalesce(jsonb_object_agg(name, jsonb_build_object(
            'oid', oid, 'inserted', inserted, 'updated', updated, 'deleted', deleted)), '{}')
        FROM (
            SELECT @name(root_schema, root) AS name, min(root_oid::bigint) AS oid,
                sum(pg_stat_get_tuples_inserted(c.oid)) AS inserted, sum(pg_stat_get_tuples_updated(c.oid)) AS updated,
                sum(pg_stat_get_tuples_deleted(c.oid)) AS deleted
            FROM @tables GROUP BY 1) AS t)));
