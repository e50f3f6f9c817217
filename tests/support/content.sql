-- Whatever limit the database has.
SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('server_version_num')::int >= 170000
\g /dev/null
SELECT format('SELECT %L, count(*), md5(coalesce(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C"), '''')) '
              'FROM %s%I.%I t', format('%I.%I', n.nspname, c.relname),
              CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname <> 'information_schema'
  AND n.nspname NOT LIKE 'pg\_%' AND c.relname <> 'heartbeat'
ORDER BY n.nspname, c.relname
\gexec
SELECT 'large objects', count(*), md5(coalesce(string_agg(loid || encode(data, 'hex'), ',' ORDER BY loid, pageno), ''))
FROM pg_largeobject;
