-- What is not in one of the databases; as in database.sql.

-- @kind role
SELECT json_build_array(rolname), json_build_object(
    'superuser', rolsuper, 'inherit', rolinherit, 'createrole', rolcreaterole, 'createdb', rolcreatedb,
    'login', rolcanlogin, 'replication', rolreplication, 'bypass row level security', rolbypassrls,
    'connection limit', nullif(rolconnlimit, -1), 'valid until', rolvaliduntil::text,
    'password', CASE WHEN rolpassword LIKE 'md5%' THEN 'md5 ' WHEN rolpassword IS NOT NULL THEN 'scram-sha-256 '
        ELSE '' END || coalesce(@secret(rolpassword), 'none'),
    'comment', shobj_description(r.oid, 'pg_authid')) AS facts
FROM pg_authid r WHERE rolname !~ '^pg_'

-- Until 15 whether a member inherits is the member's own attribute.
-- @kind membership
SELECT json_build_array(g.rolname, m.rolname), json_build_object(
    'admin', CASE WHEN bool_or(admin_option) THEN 'yes' END,
    'inherit', CASE WHEN bool_or(coalesce((to_json(a) ->> 'inherit_option')::bool, m.rolinherit)) THEN 'yes'
        ELSE 'no' END,
    'set', CASE WHEN bool_or(coalesce((to_json(a) ->> 'set_option')::bool, true)) THEN 'yes' ELSE 'no' END)
FROM pg_auth_members a JOIN pg_authid g ON g.oid = roleid JOIN pg_authid m ON m.oid = member
WHERE m.rolname !~ '^pg_' GROUP BY g.rolname, m.rolname

-- @kind setting of a role or database
SELECT json_build_array(split_part(s, '=', 1), r.rolname, d.datname),
    json_build_object('value', substr(s, strpos(s, '=') + 1))
FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS s
    LEFT JOIN pg_authid r ON r.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase

-- @kind database
SELECT json_build_array(datname), json_build_object(
    'owner', pg_get_userbyid(datdba), 'rights', coalesce(datacl, acldefault('d', datdba))::text[],
    'encoding', pg_encoding_to_char(encoding), 'provider', coalesce(j ->> 'datlocprovider', 'c'),
    'collate', datcollate, 'ctype', datctype, 'locale', coalesce(j ->> 'datlocale', j ->> 'daticulocale'),
    'rules', j ->> 'daticurules', 'template', datistemplate, 'allows connections', datallowconn,
    'connection limit', nullif(datconnlimit, -1),
    'tablespace', (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace),
    'comment', shobj_description(d.oid, 'pg_database'))
FROM pg_database d CROSS JOIN LATERAL to_json(d) AS j WHERE datname <> 'template0'

-- @kind tablespace
SELECT json_build_array(spcname), json_build_object(
    'owner', pg_get_userbyid(spcowner), 'rights', coalesce(spcacl, acldefault('t', spcowner))::text[],
    'location', pg_tablespace_location(t.oid), 'options', spcoptions,
    'comment', shobj_description(t.oid, 'pg_tablespace'))
FROM pg_tablespace t WHERE t.oid >= 16384

-- @kind replication origin
SELECT json_build_array(roname), '{}'::json FROM pg_replication_origin

-- @kind security label of the cluster
SELECT json_build_array(provider, objtype, objname), json_build_object('label', label)
FROM pg_seclabels WHERE objtype IN ('database', 'role', 'tablespace')

-- What the cluster's files say; what the command line says is the site's own, and comes with its container. A session
-- of ours has settings of its own, so that the view of those in force does not tell all of it. A copy that follows has
-- other files.
-- @kind setting
SELECT json_build_array(s.name), json_build_object(
    'value', CASE WHEN source = 'command line' THEN s.setting ELSE coalesce(f.setting, boot_val) END,
    'is told by', CASE WHEN source = 'command line' THEN source
        WHEN f.setting IS NOT NULL THEN 'file' ELSE 'nobody' END)
FROM pg_settings s LEFT JOIN (
    SELECT DISTINCT ON (lower(name)) lower(name) AS name, setting FROM pg_file_settings
    WHERE error IS NULL ORDER BY lower(name), seqno DESC) AS f ON f.name = lower(s.name)
WHERE NOT pg_is_in_recovery() AND context <> 'internal'
    AND s.name NOT IN ('config_file', 'data_directory', 'external_pid_file', 'hba_file', 'ident_file')

-- Images of one version ask for a password by md5, those of another by SCRAM: a role that this shuts out is named
-- elsewhere.
-- @kind client authentication
SELECT json_build_array('pg_hba.conf'), json_build_object('rules', (SELECT json_agg(concat_ws(' ', type, database::text,
        user_name::text, address, netmask,
        CASE WHEN auth_method IN ('md5', 'scram-sha-256') THEN 'password' ELSE auth_method END, options::text)
    ORDER BY line_number) FROM pg_hba_file_rules))
WHERE NOT pg_is_in_recovery() AND current_setting('hba_file') = current_setting('data_directory') || '/pg_hba.conf'

-- @kind user name map
SELECT json_build_array('pg_ident.conf'), json_build_object('lines', (SELECT json_agg(l) FROM
        regexp_split_to_table(pg_read_file(current_setting('ident_file'), 0, 16777216, true), '\n') AS l
    WHERE l !~ '^\s*(#|$)'))
WHERE NOT pg_is_in_recovery() AND current_setting('ident_file') = current_setting('data_directory') || '/pg_ident.conf'

-- @kind right on a parameter (since 15)
SELECT json_build_array(parname), json_build_object('rights', paracl::text[]) FROM pg_parameter_acl
