-- What one database consists of, but for its rows: a statement for each kind of object. Each gives `name`, the parts of
-- the object's name as they are, and `facts`, what the object is like; a fact that is nothing in particular is null.
-- Versions write the same thing alike: a fact that only newer ones know is asked of the catalog's row as JSON, names of
-- types are as `format_type` gives them, and no name is quoted where that depends on a version's keywords.
--
-- Whatever initdb or an extension has made is theirs; only rights on it are the site's.
--
-- Names without a schema are those of pg_catalog: the session looks nowhere else.
--
-- @proc(OID)     a function's name
-- @secret(TEXT)  enough of a hash to see a change, and too little to guess by
-- @options(LIST) options of foreign things, the values of secrets by their hash
-- @own(CATALOG, OID) the object is the site's own
-- @share, @of    which part of how many

-- @kind schema
SELECT json_build_array(nspname) AS name, json_build_object(
    'owner', pg_get_userbyid(nspowner),
    'rights', coalesce(nspacl, acldefault('n', nspowner))::text[],
    'comment', obj_description(n.oid, 'pg_namespace')) AS facts
FROM pg_namespace n
WHERE (@own(pg_namespace, n.oid) OR nspname = 'public') AND nspname !~ '^pg_(toast|temp)'

-- @kind table
SELECT json_build_array(nspname, relname), json_build_object(
    'sort', CASE relkind WHEN 'p' THEN 'partitioned' WHEN 'f' THEN 'foreign' END,
    'owner', pg_get_userbyid(relowner),
    'rights', coalesce(relacl, acldefault('r', relowner))::text[],
    'persistence', CASE relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END,
    'access method', (SELECT nullif(amname, 'heap') FROM pg_am a WHERE a.oid = relam),
    'tablespace', (SELECT spcname FROM pg_tablespace t WHERE t.oid = reltablespace),
    'storage parameters', (SELECT json_agg(o ORDER BY o) FROM (
        SELECT unnest(c.reloptions) AS o
        UNION ALL SELECT 'toast.' || unnest(t.reloptions) FROM pg_class t WHERE t.oid = c.reltoastrelid) AS o),
    'row level security', CASE WHEN relrowsecurity THEN 'on' ELSE 'off' END,
    'forced row level security', CASE WHEN relforcerowsecurity THEN 'on' END,
    'replica identity',
        CASE relreplident WHEN 'd' THEN 'default' WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full' ELSE 'an index' END,
    'inherits', (SELECT json_agg(json_build_array(pn.nspname, p.relname) ORDER BY inhseqno)
        FROM pg_inherits JOIN pg_class p ON p.oid = inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
        WHERE inhrelid = c.oid),
    'partition bound', pg_get_expr(relpartbound, c.oid),
    'partition key', pg_get_partkeydef(c.oid),
    'of type', CASE WHEN reloftype <> 0 THEN format_type(reloftype, NULL) END,
    'server', (SELECT srvname FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver WHERE ftrelid = c.oid),
    'options', (SELECT @options(ftoptions) FROM pg_foreign_table WHERE ftrelid = c.oid),
    'comment', obj_description(c.oid, 'pg_class'))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'f') AND @own(pg_class, c.oid) AND nspname !~ '^pg_(toast|temp)'

-- @kind column
SELECT json_build_array(nspname, relname, attname), json_build_object(
    -- A child that was made before its parent got a column has it at another place when it is made anew.
    'position', CASE WHEN NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
        THEN rank() OVER (PARTITION BY attrelid ORDER BY attnum) END,
    'type', format_type(atttypid, atttypmod),
    'collation', (SELECT json_build_array(cn.nspname, collname)
        FROM pg_collation l JOIN pg_namespace cn ON cn.oid = collnamespace
        WHERE l.oid = attcollation AND attcollation <> typcollation),
    'not null', CASE WHEN attnotnull THEN 'yes' END,
    'default', CASE WHEN coalesce(j.attgenerated, '') = '' THEN pg_get_expr(adbin, adrelid) END,
    'generated', CASE WHEN j.attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END,
    'is stored', CASE j.attgenerated WHEN 's' THEN 'yes' WHEN 'v' THEN 'no' END,
    'identity', CASE attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
    'storage', CASE WHEN attstorage <> typstorage THEN attstorage END,
    'compression', nullif(j.attcompression, ''),
    'statistics target', nullif(a.attstattarget, -1),
    -- A mark that some minor releases leave, and no option of the site's.
    'options', (SELECT json_agg(o ORDER BY o) FROM unnest(attoptions) AS o WHERE o NOT LIKE 'pg_attver=%'),
    'foreign options', @options(attfdwoptions),
    'is local', CASE WHEN NOT relispartition AND NOT attislocal THEN 'no' END,
    'rights', attacl::text[],
    'comment', col_description(c.oid, attnum))
FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
    JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    CROSS JOIN LATERAL json_to_record(to_json(a)) AS j (attgenerated text, attcompression text)
WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND attnum > 0 AND NOT attisdropped
    AND @own(pg_class, c.oid) AND nspname !~ '^pg_(toast|temp)'

-- A foreign key of partitions comes with that of their root, and NOT NULL is a fact of the column.
-- @kind constraint
SELECT json_build_array(nspname, relname, conname), json_build_object(
    'definition', CASE WHEN contype IN ('f', 'p', 'u') THEN pg_get_constraintdef(k.oid) END,
    'check', CASE contype WHEN 'c' THEN pg_get_expr(conbin, conrelid) END,
    'operators', (SELECT json_agg(oprname ORDER BY number)
        FROM unnest(conexclop) WITH ORDINALITY AS e (op, number) JOIN pg_operator o ON o.oid = op),
    'validated', CASE WHEN contype <> 'f' AND NOT convalidated THEN 'no' END,
    'inherited', CASE WHEN contype = 'c' AND connoinherit THEN 'no' END,
    'deferrable', CASE WHEN contype = 'x' AND condeferred THEN 'initially'
        WHEN contype = 'x' AND condeferrable THEN 'yes' END,
    'enforced', CASE to_json(k) ->> 'conenforced' WHEN 'false' THEN 'no' END,
    'triggers switched off', (SELECT nullif(count(*), 0) FROM pg_trigger
        WHERE tgconstraint = k.oid AND tgisinternal AND tgenabled <> 'O'),
    'comment', obj_description(k.oid, 'pg_constraint'))
FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE contype IN ('c', 'f', 'p', 'u', 'x') AND NOT (contype = 'f' AND conparentid <> 0)
    AND @own(pg_class, c.oid) AND nspname !~ '^pg_(toast|temp)'

-- Those of an extension's tables are the extension's.
-- @kind index
SELECT json_build_array(nspname, i.relname), json_build_object(
    'table', t.relname,
    'method', amname,
    'unique', CASE WHEN indisunique THEN CASE WHEN to_json(x) ->> 'indnullsnotdistinct' = 'true'
        THEN 'nulls not distinct' ELSE 'yes' END END,
    'immediate', CASE WHEN NOT indimmediate THEN 'no' END,
    'columns', (SELECT json_agg(pg_get_indexdef(indexrelid, k, false) ORDER BY k)
        FROM generate_series(1, indnatts) AS k),
    'of these keys', CASE WHEN indnkeyatts <> indnatts THEN indnkeyatts END,
    'operator classes', (SELECT json_agg(json_build_array(nullif(nspname, 'pg_catalog'), opcname) ORDER BY number)
        FROM unnest(indclass) WITH ORDINALITY AS e (class, number)
        JOIN pg_opclass o ON o.oid = class JOIN pg_namespace ON pg_namespace.oid = opcnamespace),
    'collations', (SELECT json_agg(json_build_array(nullif(nspname, 'pg_catalog'), collname) ORDER BY number)
        FROM unnest(indcollation) WITH ORDINALITY AS e (collation_oid, number)
        LEFT JOIN pg_collation l ON l.oid = collation_oid LEFT JOIN pg_namespace ON pg_namespace.oid = collnamespace),
    'ordering', indoption::text,
    'predicate', pg_get_expr(indpred, indrelid),
    'storage parameters', (SELECT json_agg(o ORDER BY o) FROM unnest(i.reloptions) AS o),
    'tablespace', (SELECT spcname FROM pg_tablespace s WHERE s.oid = i.reltablespace),
    'valid', CASE WHEN indisvalid AND indisready AND indislive THEN 'yes' ELSE 'no' END,
    'clustered by it', CASE WHEN indisclustered THEN 'yes' END,
    'replica identity', CASE WHEN indisreplident THEN 'yes' END,
    'statistics targets', (SELECT json_agg(json_build_array(attnum, attstattarget) ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = indexrelid AND attstattarget >= 0),
    'part of', (SELECT p.relname FROM pg_inherits JOIN pg_class p ON p.oid = inhparent WHERE inhrelid = indexrelid),
    'comment', obj_description(indexrelid, 'pg_class'))
FROM pg_index x JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
    JOIN pg_am a ON a.oid = i.relam JOIN pg_namespace n ON n.oid = i.relnamespace
WHERE @own(pg_class, indrelid) AND nspname !~ '^pg_(toast|temp)'

-- @kind view (in batches)
SELECT json_build_array(nspname, relname), json_build_object(
    'sort', CASE relkind WHEN 'm' THEN 'materialized' END,
    'owner', pg_get_userbyid(relowner),
    'rights', coalesce(relacl, acldefault('r', relowner))::text[],
    'definition', pg_get_viewdef(c.oid, false),
    'options', (SELECT json_agg(o ORDER BY o) FROM unnest(reloptions) AS o),
    'populated', CASE WHEN NOT relispopulated THEN 'no' END,
    'access method', (SELECT nullif(amname, 'heap') FROM pg_am a WHERE a.oid = relam),
    'tablespace', (SELECT spcname FROM pg_tablespace t WHERE t.oid = reltablespace),
    'comment', obj_description(c.oid, 'pg_class'))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('v', 'm') AND @own(pg_class, c.oid) AND nspname !~ '^pg_(toast|temp)' AND c.oid::bigint % @of = @share

-- @kind rule (in batches)
SELECT json_build_array(nspname, relname, rulename), json_build_object(
    'definition', pg_get_ruledef(r.oid, false),
    'enabled', CASE ev_enabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' ELSE 'always' END,
    'comment', obj_description(r.oid, 'pg_rewrite'))
FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE rulename <> '_RETURN' AND @own(pg_rewrite, r.oid) AND @own(pg_class, c.oid) AND nspname !~ '^pg_(toast|temp)'
    AND r.oid::bigint % @of = @share

-- Those of partitions come with their root's, but for being switched on or off.
-- @kind trigger
SELECT json_build_array(nspname, relname, tgname), json_build_object(
    'definition', CASE WHEN is_own THEN pg_get_triggerdef(g.oid, false) END,
    'enabled', CASE tgenabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' ELSE 'always' END,
    'comment', obj_description(g.oid, 'pg_trigger'))
FROM pg_trigger g JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
    CROSS JOIN LATERAL (SELECT tgparentid = 0 AS is_own,
        (SELECT p.tgenabled FROM pg_trigger p WHERE p.oid = g.tgparentid) AS of_parent) AS p
WHERE (is_own AND NOT tgisinternal OR NOT is_own AND tgconstraint = 0 AND tgenabled <> of_parent)
    AND @own(pg_class, c.oid) AND nspname !~ '^pg_(toast|temp)'

-- @kind policy
SELECT json_build_array(nspname, relname, polname), json_build_object(
    'for', CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
        ELSE 'ALL' END,
    'permissive', CASE WHEN NOT polpermissive THEN 'no' END,
    'roles', (SELECT json_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END
        ORDER BY pg_get_userbyid(r)) FROM unnest(polroles) AS r),
    'using', pg_get_expr(polqual, polrelid),
    'with check', pg_get_expr(polwithcheck, polrelid),
    'comment', obj_description(p.oid, 'pg_policy'))
FROM pg_policy p JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE @own(pg_class, polrelid)

-- @kind sequence
SELECT json_build_array(nspname, relname), json_build_object(
    'owner', pg_get_userbyid(relowner),
    'rights', coalesce(relacl, acldefault('s', relowner))::text[],
    'type', format_type(seqtypid, NULL),
    'start', seqstart, 'increment', seqincrement, 'minimum', seqmin, 'maximum', seqmax, 'cache', seqcache,
    'cycle', CASE WHEN seqcycle THEN 'yes' END,
    'persistence', CASE relpersistence WHEN 'u' THEN 'unlogged' END,
    'owned by', (SELECT json_build_array(tn.nspname, t.relname, attname)
        FROM pg_depend JOIN pg_class t ON t.oid = refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND refclassid = 'pg_class'::regclass
            AND deptype IN ('a', 'i') AND refobjsubid > 0),
    'comment', obj_description(c.oid, 'pg_class'))
FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE @own(pg_class, c.oid) AND nspname !~ '^pg_temp'

-- @kind function
SELECT json_build_array(nspname, proname, pg_get_function_identity_arguments(p.oid)), json_build_object(
    'sort', CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window' END,
    'owner', pg_get_userbyid(proowner),
    'rights', coalesce(proacl, acldefault('f', proowner))::text[],
    'arguments', (SELECT json_agg(json_build_array(proargmodes[k], nullif(proargnames[k], ''), format_type(t, NULL))
        ORDER BY k) FROM unnest(coalesce(proallargtypes, proargtypes)) WITH ORDINALITY AS a (t, k)),
    'defaults', CASE WHEN prokind <> 'a' THEN pg_get_expr(proargdefaults, 0) END,
    'result', pg_get_function_result(p.oid),
    'language', (SELECT lanname FROM pg_language l WHERE l.oid = prolang),
    'body', CASE WHEN prokind <> 'a' AND to_json(p) ->> 'prosqlbody' IS NULL THEN prosrc END,
    'library', probin,
    'statements', CASE WHEN to_json(p) ->> 'prosqlbody' IS NOT NULL THEN pg_get_functiondef(p.oid) END,
    'volatility', provolatile, 'parallel', proparallel, 'cost', procost, 'rows', nullif(prorows, 0),
    'strict', CASE WHEN proisstrict THEN 'yes' END,
    'security definer', CASE WHEN prosecdef THEN 'yes' END,
    'leakproof', CASE WHEN proleakproof THEN 'yes' END,
    'settings', (SELECT json_agg(s ORDER BY s) FROM unnest(proconfig) AS s),
    'support', CASE WHEN prosupport <> 0 THEN @proc(prosupport) END,
    'transforms', (SELECT json_agg(format_type(t, NULL)) FROM unnest(protrftypes) AS t),
    'aggregate', (SELECT json_strip_nulls(json_build_array(aggkind, aggnumdirectargs, @proc(aggtransfn),
            @proc(aggfinalfn), @proc(aggcombinefn), @proc(aggserialfn), @proc(aggdeserialfn),
            @proc(aggmtransfn), @proc(aggminvtransfn),
            @proc(aggmfinalfn), aggfinalextra, aggmfinalextra, aggfinalmodify, aggmfinalmodify,
            (SELECT oprname FROM pg_operator o WHERE o.oid = aggsortop), format_type(nullif(aggtranstype, 0), NULL),
            aggtransspace, format_type(nullif(aggmtranstype, 0), NULL), aggmtransspace, agginitval, aggminitval))
        FROM pg_aggregate WHERE aggfnoid = p.oid),
    'comment', obj_description(p.oid, 'pg_proc'))
FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
-- What makes and reads the values of a type of ranges comes with it.
WHERE @own(pg_proc, p.oid) AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')

-- @kind type
SELECT json_build_array(nspname, typname), json_build_object(
    'sort', CASE typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range'
        WHEN 'p' THEN 'shell' ELSE 'base' END,
    'owner', pg_get_userbyid(typowner),
    'rights', coalesce(typacl, acldefault('T', typowner))::text[],
    'labels', (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
    'of', CASE typtype WHEN 'd' THEN format_type(typbasetype, typtypmod) END,
    'not null', CASE WHEN typnotnull THEN 'yes' END,
    'default', CASE typtype WHEN 'd' THEN coalesce(pg_get_expr(typdefaultbin, 0), typdefault) END,
    'collation', (SELECT json_build_array(cn.nspname, collname)
        FROM pg_collation l JOIN pg_namespace cn ON cn.oid = collnamespace
        WHERE typtype = 'd' AND l.oid = typcollation AND l.collname <> 'default'),
    'range', (SELECT json_build_array(format_type(rngsubtype, NULL), opcname, collname, @proc(rngcanonical),
            @proc(rngsubdiff))
        FROM pg_range LEFT JOIN pg_opclass o ON o.oid = rngsubopc LEFT JOIN pg_collation l ON l.oid = rngcollation
        WHERE rngtypid = t.oid),
    'made of', CASE typtype WHEN 'b' THEN json_build_array(@proc(typinput), @proc(typoutput), @proc(typreceive),
        @proc(typsend), @proc(typmodin), @proc(typmodout), @proc(typanalyze), typlen, typbyval, typalign, typstorage,
        typcategory, typispreferred, typdelim, typdefault, format_type(nullif(typelem, 0), NULL)) END,
    'comment', coalesce(obj_description(t.oid, 'pg_type'), obj_description(nullif(typrelid, 0), 'pg_class')))
FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
WHERE @own(pg_type, t.oid) AND typtype <> 'm' AND nspname !~ '^pg_(toast|temp)'
    -- Types of rows come with their tables, those of arrays with their elements.
    AND (typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid AND relkind = 'c'))
    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)

-- @kind domain constraint
SELECT json_build_array(nspname, typname, conname), json_build_object(
    'of', format_type(typbasetype, typtypmod),
    'definition', pg_get_constraintdef(k.oid),
    'comment', obj_description(k.oid, 'pg_constraint'))
FROM pg_constraint k JOIN pg_type t ON t.oid = contypid JOIN pg_namespace n ON n.oid = typnamespace
WHERE contype = 'c' AND @own(pg_type, t.oid)

-- @kind cast
SELECT json_build_array(format_type(castsource, NULL), format_type(casttarget, NULL)), json_build_object(
    'function', @proc(castfunc), 'context', castcontext, 'method', castmethod,
    'comment', obj_description(k.oid, 'pg_cast'))
FROM pg_cast k WHERE @own(pg_cast, k.oid) AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = 'pg_cast'::regclass AND d.objid = k.oid AND d.deptype = 'i')

-- @kind operator
SELECT json_build_array(nspname, oprname, format_type(nullif(oprleft, 0), NULL),
        format_type(nullif(oprright, 0), NULL)), json_build_object(
    'owner', pg_get_userbyid(oprowner), 'function', @proc(oprcode), 'result', format_type(oprresult, NULL),
    'commutator', (SELECT oprname FROM pg_operator c WHERE c.oid = o.oprcom),
    'negator', (SELECT oprname FROM pg_operator c WHERE c.oid = o.oprnegate),
    'estimators', json_build_array(@proc(oprrest), @proc(oprjoin)),
    'merges', oprcanmerge, 'hashes', oprcanhash,
    'comment', obj_description(o.oid, 'pg_operator'))
FROM pg_operator o JOIN pg_namespace n ON n.oid = oprnamespace WHERE @own(pg_operator, o.oid)

-- @kind operator class
SELECT json_build_array(nspname, opcname, amname), json_build_object(
    'owner', pg_get_userbyid(opcowner), 'type', format_type(opcintype, NULL),
    'key', format_type(nullif(opckeytype, 0), NULL), 'default', opcdefault,
    'family', (SELECT opfname FROM pg_opfamily f WHERE f.oid = opcfamily),
    'comment', obj_description(o.oid, 'pg_opclass'))
FROM pg_opclass o JOIN pg_namespace n ON n.oid = opcnamespace JOIN pg_am a ON a.oid = opcmethod
WHERE @own(pg_opclass, o.oid)

-- @kind operator family
SELECT json_build_array(nspname, opfname, amname), json_build_object(
    'owner', pg_get_userbyid(opfowner),
    'members', (SELECT json_agg(m ORDER BY m) FROM (
        SELECT concat_ws(' ', 'operator', amopstrategy, oprname, format_type(amoplefttype, NULL),
            format_type(amoprighttype, NULL), amoppurpose) AS m
        FROM pg_amop JOIN pg_operator o ON o.oid = amopopr WHERE amopfamily = f.oid
        UNION ALL SELECT concat_ws(' ', 'function', amprocnum, @proc(amproc::oid), format_type(amproclefttype, NULL),
            format_type(amprocrighttype, NULL)) FROM pg_amproc WHERE amprocfamily = f.oid) AS m),
    'comment', obj_description(f.oid, 'pg_opfamily'))
FROM pg_opfamily f JOIN pg_namespace n ON n.oid = opfnamespace JOIN pg_am a ON a.oid = opfmethod
WHERE @own(pg_opfamily, f.oid)

-- @kind access method
SELECT json_build_array(amname), json_build_object('handler', @proc(amhandler), 'type', amtype,
    'comment', obj_description(a.oid, 'pg_am'))
FROM pg_am a WHERE @own(pg_am, a.oid)

-- @kind collation
SELECT json_build_array(nspname, collname), json_build_object(
    'owner', pg_get_userbyid(collowner), 'provider', collprovider,
    'locale', coalesce(j ->> 'colllocale', j ->> 'colliculocale', collcollate),
    'ctype', CASE collprovider WHEN 'c' THEN collctype END,
    'deterministic', CASE WHEN NOT collisdeterministic THEN 'no' END,
    'rules', j ->> 'collicurules',
    'comment', obj_description(c.oid, 'pg_collation'))
FROM pg_collation c JOIN pg_namespace n ON n.oid = collnamespace CROSS JOIN LATERAL to_json(c) AS j
WHERE @own(pg_collation, c.oid)

-- @kind conversion
SELECT json_build_array(nspname, conname), json_build_object(
    'owner', pg_get_userbyid(conowner), 'from', pg_encoding_to_char(conforencoding),
    'to', pg_encoding_to_char(contoencoding), 'function', @proc(conproc::oid), 'default', condefault,
    'comment', obj_description(c.oid, 'pg_conversion'))
FROM pg_conversion c JOIN pg_namespace n ON n.oid = connamespace WHERE @own(pg_conversion, c.oid)

-- @kind language
SELECT json_build_array(lanname), json_build_object(
    'owner', pg_get_userbyid(lanowner), 'rights', coalesce(lanacl, acldefault('l', lanowner))::text[],
    'trusted', lanpltrusted,
    'functions', json_build_array(@proc(lanplcallfoid), @proc(laninline), @proc(lanvalidator)),
    'comment', obj_description(l.oid, 'pg_language'))
FROM pg_language l WHERE @own(pg_language, l.oid)

-- @kind transform
SELECT json_build_array(format_type(trftype, NULL), lanname), json_build_object(
    'functions', json_build_array(@proc(trffromsql), @proc(trftosql)),
    'comment', obj_description(t.oid, 'pg_transform'))
FROM pg_transform t JOIN pg_language l ON l.oid = trflang WHERE @own(pg_transform, t.oid)

-- @kind text search parser
SELECT json_build_array(nspname, prsname), json_build_object(
    'functions', json_build_array(@proc(prsstart), @proc(prstoken), @proc(prsend), @proc(prsheadline),
        @proc(prslextype)),
    'comment', obj_description(p.oid, 'pg_ts_parser'))
FROM pg_ts_parser p JOIN pg_namespace n ON n.oid = prsnamespace WHERE @own(pg_ts_parser, p.oid)

-- @kind text search template
SELECT json_build_array(nspname, tmplname), json_build_object('functions', json_build_array(@proc(tmplinit),
    @proc(tmpllexize)), 'comment', obj_description(t.oid, 'pg_ts_template'))
FROM pg_ts_template t JOIN pg_namespace n ON n.oid = tmplnamespace WHERE @own(pg_ts_template, t.oid)

-- @kind text search dictionary
SELECT json_build_array(nspname, dictname), json_build_object(
    'owner', pg_get_userbyid(dictowner), 'options', dictinitoption,
    'template', (SELECT tmplname FROM pg_ts_template t WHERE t.oid = dicttemplate),
    'comment', obj_description(d.oid, 'pg_ts_dict'))
FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = dictnamespace WHERE @own(pg_ts_dict, d.oid)

-- @kind text search configuration
SELECT json_build_array(nspname, cfgname), json_build_object(
    'owner', pg_get_userbyid(cfgowner),
    'parser', (SELECT prsname FROM pg_ts_parser p WHERE p.oid = cfgparser),
    'dictionaries', (SELECT json_agg(json_build_array(maptokentype, dictname) ORDER BY maptokentype, mapseqno)
        FROM pg_ts_config_map JOIN pg_ts_dict d ON d.oid = mapdict WHERE mapcfg = c.oid),
    'comment', obj_description(c.oid, 'pg_ts_config'))
FROM pg_ts_config c JOIN pg_namespace n ON n.oid = cfgnamespace WHERE @own(pg_ts_config, c.oid)

-- @kind foreign data wrapper
SELECT json_build_array(fdwname), json_build_object(
    'owner', pg_get_userbyid(fdwowner), 'rights', coalesce(fdwacl, acldefault('F', fdwowner))::text[],
    'functions', json_build_array(@proc(fdwhandler), @proc(fdwvalidator)), 'options', @options(fdwoptions),
    'comment', obj_description(f.oid, 'pg_foreign_data_wrapper'))
FROM pg_foreign_data_wrapper f WHERE @own(pg_foreign_data_wrapper, f.oid)

-- @kind foreign server
SELECT json_build_array(srvname), json_build_object(
    'owner', pg_get_userbyid(srvowner), 'rights', coalesce(srvacl, acldefault('S', srvowner))::text[],
    'wrapper', (SELECT fdwname FROM pg_foreign_data_wrapper f WHERE f.oid = srvfdw),
    'type', srvtype, 'version', srvversion, 'options', @options(srvoptions),
    'comment', obj_description(s.oid, 'pg_foreign_server'))
FROM pg_foreign_server s WHERE @own(pg_foreign_server, s.oid)

-- @kind user mapping
SELECT json_build_array(CASE umuser WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(umuser) END, srvname),
    json_build_object(
    'options', (SELECT json_agg(split_part(o, '=', 1) || '=' || @secret(o) ORDER BY o) FROM unnest(umoptions) AS o))
FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = umserver

-- @kind publication
SELECT json_build_array(pubname), json_build_object(
    'owner', pg_get_userbyid(pubowner), 'all tables', CASE WHEN puballtables THEN 'yes' END,
    'insert', pubinsert, 'update', pubupdate, 'delete', pubdelete, 'truncate', pubtruncate,
    'by root', CASE WHEN pubviaroot THEN 'yes' END,
    'generated columns', nullif(nullif(to_json(p) ->> 'pubgencols', 'n'), 'false'),
    'comment', obj_description(p.oid, 'pg_publication'))
FROM pg_publication p

-- @kind table of publication
SELECT json_build_array(pubname, nspname, relname), json_build_object(
    'columns', (SELECT json_agg(attname ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = prrelid AND attnum = ANY (string_to_array(to_json(r) ->> 'prattrs', ' ')::int[])),
    'filter', pg_get_expr((to_json(r) ->> 'prqual')::pg_node_tree, prrelid))
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid JOIN pg_class c ON c.oid = prrelid
    JOIN pg_namespace n ON n.oid = relnamespace

-- @kind event trigger
SELECT json_build_array(evtname), json_build_object(
    'owner', pg_get_userbyid(evtowner), 'event', evtevent, 'function', @proc(evtfoid),
    'tags', (SELECT json_agg(t ORDER BY t) FROM unnest(evttags) AS t),
    'enabled', CASE evtenabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' ELSE 'always' END,
    'comment', obj_description(v.oid, 'pg_event_trigger'))
FROM pg_event_trigger v WHERE @own(pg_event_trigger, v.oid)

-- @kind statistics object
SELECT json_build_array(n.nspname, stxname), json_build_object(
    'owner', pg_get_userbyid(stxowner), 'table', json_build_array(tn.nspname, relname),
    'columns', (SELECT json_agg(attname ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = stxrelid AND attnum = ANY (stxkeys)),
    'expressions', pg_get_expr((to_json(s) ->> 'stxexprs')::pg_node_tree, stxrelid),
    'sorts', stxkind::text, 'target', nullif((to_json(s) ->> 'stxstattarget')::int, -1),
    'comment', obj_description(s.oid, 'pg_statistic_ext'))
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = stxnamespace JOIN pg_class c ON c.oid = stxrelid
    JOIN pg_namespace tn ON tn.oid = relnamespace
WHERE @own(pg_statistic_ext, s.oid)

-- @kind default rights
SELECT json_build_array(pg_get_userbyid(defaclrole), coalesce(nspname, ''), CASE defaclobjtype WHEN 'r' THEN 'tables'
    WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas'
    WHEN 'L' THEN 'large objects' END),
    json_build_object('owner', pg_get_userbyid(defaclrole), 'rights', defaclacl::text[])
FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace

-- @kind large object
SELECT json_build_array(m.oid), json_build_object(
    'owner', pg_get_userbyid(lomowner), 'rights', coalesce(lomacl, acldefault('L', lomowner))::text[],
    'comment', obj_description(m.oid, 'pg_largeobject'))
FROM pg_largeobject_metadata m

-- @kind security label
SELECT json_build_array(provider, objtype, objname), json_build_object('label', label)
FROM pg_seclabels WHERE objtype NOT IN ('database', 'role', 'tablespace')

-- @kind extension
SELECT json_build_array(extname), json_build_object(
    'version', extversion, 'schema', nspname, 'owner', pg_get_userbyid(extowner),
    -- But for what the version brings itself.
    'comment', nullif(obj_description(e.oid, 'pg_extension'), a.comment))
FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
    LEFT JOIN pg_available_extensions a ON a.name = extname

-- On what initdb or an extension has made: rights that were given beyond those that it gave, or taken away. initdb's
-- superuser may have another name in the new cluster: the owner is told as what it is.
-- @kind rights on a system object
SELECT json_build_array(o.type, o.identity), json_build_object(
    'given', json_agg(told ORDER BY told) FILTER (WHERE given),
    'taken', json_agg(told ORDER BY told) FILTER (WHERE NOT given))
FROM (
    SELECT 'pg_class'::regclass AS class, oid, 0 AS number, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS sort,
        relowner AS owner, relacl AS acl FROM pg_class WHERE relacl IS NOT NULL
    UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, 'c', relowner, attacl
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attacl IS NOT NULL
    UNION ALL SELECT 'pg_proc'::regclass, oid, 0, 'f', proowner, proacl FROM pg_proc WHERE proacl IS NOT NULL
    UNION ALL SELECT 'pg_type'::regclass, oid, 0, 'T', typowner, typacl FROM pg_type WHERE typacl IS NOT NULL
    UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, 'n', nspowner, nspacl FROM pg_namespace
        WHERE nspacl IS NOT NULL AND nspname <> 'public'
    UNION ALL SELECT 'pg_language'::regclass, oid, 0, 'l', lanowner, lanacl FROM pg_language WHERE lanacl IS NOT NULL
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, 'F', fdwowner, fdwacl FROM pg_foreign_data_wrapper
        WHERE fdwacl IS NOT NULL
    ) AS a
    LEFT JOIN pg_init_privs i ON i.objoid = a.oid AND i.classoid = a.class AND i.objsubid = a.number
    CROSS JOIN LATERAL (
        SELECT coalesce(initprivs, CASE WHEN sort <> 'c' THEN acldefault(sort::"char", owner) END) AS made) AS d
    CROSS JOIN LATERAL (
        (SELECT unnest(acl::text[]) AS item, true AS given EXCEPT SELECT unnest(d.made::text[]), true)
        UNION ALL (SELECT unnest(d.made::text[]), false EXCEPT SELECT unnest(acl::text[]), false)) AS r
    -- The name as it stands in an item: quoted where it has to be.
    CROSS JOIN LATERAL (SELECT substr(makeaclitem(0, owner, 'USAGE', false)::text, 4) AS owner_told) AS w
    CROSS JOIN LATERAL (
        SELECT CASE WHEN starts_with(item, owner_told || '=') THEN '(owner)' || substr(item, length(owner_told) + 1)
            ELSE item END AS item_of) AS g
    CROSS JOIN LATERAL (
        SELECT CASE WHEN right(item_of, length(owner_told) + 1) = '/' || owner_told
            THEN left(item_of, -length(owner_told)) || '(owner)' ELSE item_of END AS told) AS t
    CROSS JOIN LATERAL pg_identify_object(a.class, a.oid, a.number) AS o
WHERE (a.oid < 16384 OR EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = a.class AND e.objid = a.oid AND e.deptype = 'e'))
    AND acl::text IS DISTINCT FROM d.made::text
GROUP BY o.type, o.identity
