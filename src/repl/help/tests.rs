use super::*;
use crate::script::api;

const COMMANDS: [Command; 6] = [
    Command { name: ".help", arguments: "TOPIC", help: "Explains.", rhai: "" },
    Command { name: ".steps", arguments: "", help: "The steps of this session.", rhai: "session::steps()" },
    Command {
        name: ".undo",
        arguments: "STEP",
        help: "Puts back what a step has done. Without a step, what the last one has done.",
        rhai: "session::undo(\"STEP\")",
    },
    Command { name: ".save", arguments: "FILE", help: "Writes the session as a script.", rhai: "" },
    Command { name: ".quit", arguments: "", help: "Ends the session.", rhai: "" },
    Command { name: ".clear", arguments: "", help: "Clears the screen.", rhai: "" },
];

fn reference() -> &'static Reference {
    &api::vocabulary().reference
}

fn own() -> Vec<(String, String)> {
    vec![
        ("stop_all(project)".into(), "Stops what belongs to a project. Twice does no harm.".into()),
        ("bare()".into(), String::new()),
    ]
}

fn in_style(topic: &str, style: Style) -> Result<String> {
    help(Some(topic).filter(|topic| !topic.is_empty()), reference(), &COMMANDS, &own(), style)
}

fn on(topic: &str) -> String {
    in_style(topic, Style { width: 80, ..Style::plain(true) }).unwrap()
}

#[test]
fn the_first_page_fits_a_small_terminal() {
    let page = on("");
    assert!(page.lines().count() <= 20, "{page}");
    insta::assert_snapshot!(page, @r#"
    Type Rhai and it runs; `help NAME` explains everything there is.

      docker::containers()              what there is
      let db = docker::container("db")  keeps a handle for later
      db.stop()                         changes something: kept as a step of the
                                        session

      help topics     everything there is help on
      help docker     a namespace; help docker::stop a function
      help Container  a handle: its properties and methods
      help WORDS      searches names and descriptions

      .help TOPIC    Explains
      .steps         The steps of this session
      .undo STEP     Puts back what a step has done
      .save FILE     Writes the session as a script
      .quit          Ends the session
      help commands  all of them
    "#);
}

#[test]
fn a_function_has_its_signature_doc_method_and_effect() {
    insta::assert_snapshot!(on("docker::stop"), @r"
    docker::stop(container: Container, options: Map = #{})

      Stops a container with its image's stop signal and waits for its end; SIGKILL
      after `timeout` seconds (60). A stopped one is left alone.

      As a method: container.stop(options: Map = #{})
      Changes something outside: belongs in a step. Here, each input is one.
    ");
    insta::assert_snapshot!(on("host::read"), @r"
    host::read(path: string) -> string

      A text file.

      Needs no step.
    ");
}

#[test]
fn a_bare_name_a_method_and_a_whole_call_mean_the_function() {
    let page = on("docker::stop");
    for topic in ["stop", "container.stop", "Container.stop", "docker::stop(c);", " docker::stop ", "STOP"] {
        assert_eq!(on(topic), page, "{topic}");
    }
}

#[test]
fn a_name_of_several_things_lists_them() {
    insta::assert_snapshot!(on("inspect"), @r"
    2 things are called `inspect`; `help NAME` says more:
      docker::inspect(container)  The container as it is now; a handle keeps what
                                  was true when it was made
      volume::inspect(name)       The volume of this name
    ");
    insta::assert_snapshot!(on("remove"), @r"
    3 things are called `remove`; `help NAME` says more:
      docker::remove(container, options) $
                                Removes a container, not its named volumes
      volume::remove(volume) $  Removes a volume and everything in it
      remove of Rhai            Remove the element at the specified `index` from the
                                array and return it

      $ changes something outside
    ");
}

#[test]
fn a_handle_has_properties_methods_and_origin() {
    insta::assert_snapshot!(on("Volume"), @r"
    Volume: a handle
      .name: string         Name.
      .driver: string       Driver, mostly `local`.
      .mount_point: string  Where the engine keeps it on its host.
      .labels: Map          Labels.
      .options: Map         Driver options.

    Methods
      .holders()                Containers, in any state, that mount the volume
      .pg_version()             Major version in the volume's PG_VERSION, read
                                without starting anything; empty without a cluster
      .control(directory)       What pg_controldata would say of a cluster, read
                                without starting anything
      .size()                   Bytes of the regular files in the volume
      .is_empty()               Whether the volume has no entry at all
      .remove() $               Removes a volume and everything in it
      .move(name, options) $    Keeps the volume's content under another name,
                                without copying it: makes volume `name`, renames the
                                content on its file …
      .clone(name, options) $   A new volume `name` with exactly the content of this
                                one, compared after copying; on file systems that
                                can (XFS, Btrfs) …
      .keep(options) $          Makes the container `<volume>-keeper`, which mounts
                                the volume and is never started: `docker volume
                                prune` leaves a …
      .unkeep() $               Removes the volume's keeper; nothing happens without
                                one
      .backup(path, options) $  Writes the volume's content to a new private file: a
                                tar compressed with zstd on all cores, with a
                                checksum and a …
      .backup_not_started()     Why `volume::remove` refuses a volume with the old
                                data, which a finished run has put aside: no backup
                                of it was …

      $ changes something outside

    Given by volume::inspect, volume::create, volume::move, volume::clone.
    ");
    assert_eq!(on("volume.name"), on("Volume.name"));
    assert_eq!(on("ansiblesite"), on("AnsibleSite"));
}

#[test]
fn a_namespace_lists_its_functions_and_says_what_else_is_called_so() {
    insta::assert_snapshot!(on("run"), @r"
    run: The durable run this script is part of.
      run::id()                      The run's name, as `pgscript resume` takes it:
                                     `upgrade-7`
      run::directory()               The run's private directory (0700), with
                                     journal, log and frozen scripts; the place for
                                     its artefacts
      run::lock(stack, options)      From here on nobody else can run a procedure on
                                     this Compose project, from this machine or
                                     another one that drives the …
      run::is_going_back()           Whether the script is only read for what puts
                                     its steps back
      run::seconds(step)             How long a step of this run took that is done;
                                     () of one that is not
      run::judges(subject, details)  The script is going to give its verdict on the
                                     subject
      run::verdict(ready, says, details)
                                     What the script has come to, in one line that a
                                     person can act on, and in details for machines
                                     and later runs: kept …
      run::list()                    The runs of this machine, oldest first: #{ id,
                                     script, state, directory, begun_at, verdict }
                                     each; the last is () or #{ …
      run::put_back(run, server) $   Notes in another run's journal that all it did
                                     was put back by this one: it is over, as after
                                     `pgscript rollback`
      run::forget(run) $             Notes in a run's journal that the copies it has
                                     made are removed: it can't be rolled back any
                                     more

      $ changes something outside

    See also docker::run, host::run, deploy::run.
    ");
    let reference = reference();
    for (namespace, _) in &reference.namespaces {
        let page = on(if namespace.is_empty() { "global" } else { namespace });
        for function in reference.functions.iter().filter(|f| f.namespace == *namespace) {
            assert!(page.contains(&format!("  {}(", function.path())), "{}", function.path());
        }
    }
}

#[test]
fn a_command_is_found_with_its_dot_and_without() {
    insta::assert_snapshot!(on(".undo"), @r#"
    .undo STEP

      Puts back what a step has done. Without a step, what the last one has done.

      The same as session::undo("STEP")
    "#);
    assert_eq!(on("undo"), on(".undo"));
    insta::assert_snapshot!(on("commands"), @r"
    Commands
      .help TOPIC  Explains
      .steps       The steps of this session
      .undo STEP   Puts back what a step has done
      .save FILE   Writes the session as a script
      .quit        Ends the session
      .clear       Clears the screen
    ");
}

#[test]
fn functions_of_the_session_of_modules_and_of_the_language_are_explained() {
    insta::assert_snapshot!([on("stop_all"), on("bare"), on("stack::find"), on("push")].join("\n"), @r#"
    stop_all(project)

      Stops what belongs to a project. Twice does no harm.

    bare()

      A function of this session, without a `///` comment.

    stack::find(project, database_service)

      The containers of a project: #{ database, others }. Found by Compose labels,
      so that names do not matter.

      import "stack" as stack;

    push(array: Array, item: any)

      Add a new element, which is not another array, to the end of the array.

      If `item` is `Array`, then `append` is more specific and will be called
      instead.

      Example

        let x = [1, 2, 3];
        x.push("hello");
        print(x); // prints [1, 2, 3, "hello"]

    push(blob: Blob, value: int)

      Add a new byte `value` to the end of the BLOB.

      Only the lower 8 bits of the `value` are used; all other bits are ignored.

      Example

        let b = blob();
        b.push(0x42);
        print(b); // prints "[42]"
    "#);
}

#[test]
fn a_page_about_the_language_reads_well() {
    insta::assert_snapshot!(on("maps"), @r#"
    maps: options and rows, and keys that may be missing

    A map is `#{ key: value }`. Reading a key that it does not have is an error, so
    that a slip is not taken for nothing:
      let options = #{ timeout: 30 };
      options.timeout + 1;
    Where a key may be missing, say so:
      let level = options.get("level") ?? 1;
      if "level" in options { ui::say("there is one"); }
    A key is added or changed by
      options.set("level", 3);
    "#);
}

#[test]
fn topics_have_everything_and_each_of_them_a_page() {
    let page = on("topics");
    let names = page.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = names.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(names.len() > 30, "{page}");
    for name in names {
        assert!(!on(name).is_empty());
    }
}

#[test]
fn everything_can_be_asked_for_by_the_name_that_lists_show() {
    let (reference, modules, builtins) = (reference(), modules::all(), builtins::all());
    let own = own();
    let subjects = subject::all(reference, &COMMANDS, &own, &modules, &builtins);
    let help = |style: Style| Help {
        reference,
        commands: &COMMANDS,
        subjects: subject::all(reference, &COMMANDS, &own, &modules, &builtins),
        style,
    };
    for style in [Style::plain(true), Style { width: 40, ..Style::plain(false) }] {
        let help = help(style);
        for subject in &subjects {
            let lines = help.find(&subject.name()).unwrap_or_else(|error| panic!("{error}"));
            assert!(lines.len() > 2, "{}: {lines:?}", subject.name());
            assert!(lines.iter().all(|line| line.chars().count() <= style.width), "{lines:?}");
            assert!(style.unicode || lines.iter().all(|line| line.is_ascii()), "{lines:?}");
        }
    }
}

#[test]
fn words_are_searched_for_and_names_come_first() {
    insta::assert_snapshot!(on("volume verified"), @r"
    Nothing is called `volume verified`; did you mean `volume::verify`? It is spoken
    of in:
      volume::remove(volume) $  Removes a volume and everything in it
      wayback::put_aside(volume, kept, image)
                                Gives the volume's name free: its data is kept under
                                `kept`, or, where that can't be or is not wanted,
                                removed because …

      $ changes something outside
    ");
    let page = on("healthy");
    assert!(page.lines().nth(1).unwrap().contains("docker::wait_healthy"), "{page}");
}

#[test]
fn many_finds_are_cut() {
    assert!(on("the").contains("more; another word narrows it: help the WORD"), "{}", on("the"));
}

#[test]
fn what_is_not_there_is_an_error_that_says_what_was_meant() {
    let hint = |topic: &str| {
        let error = in_style(topic, Style::plain(true)).unwrap_err();
        assert_eq!(error.code, "help.not_found");
        error.hint.unwrap()
    };
    assert_eq!(hint("docker::stopp"), "did you mean `docker::stop`?");
    assert_eq!(hint(".undoo"), "did you mean `.undo`?");
    assert_eq!(hint("Contaner"), "did you mean `Container`?");
    assert_eq!(hint("xyzzy"), "`help topics` shows what there is help on");
    assert!(on("stopp").starts_with("Nothing is called `stopp`; did you mean `stop`?"));
}

#[test]
fn forty_columns_without_unicode_are_enough() {
    let style = Style { width: 40, ..Style::plain(false) };
    let pages = ["", "docker::stop", "guards"].map(|topic| in_style(topic, style).unwrap());
    assert!(pages.iter().all(|page| page.is_ascii()));
    assert!(pages.iter().flat_map(|page| page.lines()).all(|line| line.len() <= 40), "{}", pages.join("\n"));
    insta::assert_snapshot!(pages[1], @r"
    docker::stop(container: Container,
    options: Map = #{})

      Stops a container with its image's
      stop signal and waits for its end;
      SIGKILL after `timeout` seconds (60).
      A stopped one is left alone.

      As a method: container.stop(options:
      Map = #{})
      Changes something outside: belongs in
      a step. Here, each input is one.
    ");
}

#[test]
fn the_examples_of_the_first_page_pass_the_check() {
    use std::sync::Arc;

    use crate::event::Silent;
    use crate::script::check::Checker;
    use crate::script::engine::Language;
    use crate::script::loader::Places;
    use crate::script::source::{Origin, Source};

    let page = on("");
    let examples = page.lines().skip(2).take_while(|line| !line.is_empty());
    let examples = examples.filter_map(|line| line.trim_start().split("  ").next().filter(|code| code.contains('(')));
    let code: String = examples.map(|code| format!("{code};\n")).collect();
    let source = Source { id: "page".into(), name: "page".into(), origin: Origin::BuiltIn, text: code.clone().into() };
    let language = Language::new(Places::new(None).unwrap(), Arc::new(Silent), None);
    let findings = Checker::new(&language).check(&source);
    assert!(code.lines().count() == 3 && findings.iter().all(|f| f.is_warning), "{code}");
}
