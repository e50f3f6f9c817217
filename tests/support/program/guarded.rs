//! Scripts that do what guards are for, the same on real containers and in simulated worlds.

/// In a volume's step: a verified backup of it.
pub const BACKUP: &str = r#"
    let file = dir + "/kept/b.tar.zst";
    host::create_private_dir(dir + "/kept");
    let volume = volume::inspect(name);
    volume::verify(volume::backup(volume, file));
"#;

/// A container that mounts the volume writable, and ends at once.
pub const HOLDER: &str = r#"
let holder = docker::create(#{ name: name + "-holder", image: "pgscript-test/app:1", entrypoint: ["true"],
    mounts: [#{ name: name, destination: "/data" }], network: NETWORK });
let volume = volume::inspect(name);
let backup = volume::backup(volume, dir + "/b.tar.zst");
volume::verify(backup);
"#;

/// A verified backup, the removal of its volume, and then everything that would take the last copy: each try is caught,
/// and the codes of the refusals are told.
pub fn attacks_on_the_last_copy() -> String {
    let acts = [
        "host::remove_file(file);",
        "host::remove_file(file + \".json\");",
        "host::remove_dir(dir + \"/kept\");",
        "host::write(file, \"\", #{ overwrite: true });",
        "host::write_json(file + \".json\", 1, #{ overwrite: true });",
        // Another volume of that name: the file holds what the first one had.
        "let again = volume::create(name); \
         docker::run(#{ image: \"pgscript-test/app:1\", user: \"0\", entrypoint: [\"touch\", \"/data/x\"], \
             mounts: [#{ name: name, destination: \"/data\" }] }); \
         volume::backup(again, file, #{ replace: true });",
    ];
    // One run for all: each refusal can be caught, and changes nothing.
    let tried = acts.map(|act| format!("try {{ {act} }} catch (e) {{ codes.push(e.code); }}")).join("\n");
    format!("{BACKUP}\nvolume::remove(volume);\nlet codes = [];\n{tried}\nui::say(`codes: ${{codes}}`);")
}
