//! Every property holds for its seeds, whole and cut short: inputs that reach far, and those that once found a fault.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use tidings_properties::{PROPERTIES, check};

/// Places at which each seed is cut.
const CUTS: usize = 16;

fn seeds(property: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(property);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a folder can be listed").path()).collect();
    files.sort();
    files
}

fn replay(property: &str) {
    let seeds = seeds(property);
    assert!(!seeds.is_empty(), "{property} has no seeds");
    for path in seeds {
        let bytes = std::fs::read(&path).expect("a seed can be read");
        let cuts = (0..CUTS).map(|part| bytes.len() * part / CUTS);
        for end in cuts.chain([bytes.len()]) {
            let held = catch_unwind(|| check(property, &bytes[..end])).is_ok();
            assert!(held, "{property} does not hold for the first {end} bytes of {}", path.display());
        }
    }
}

macro_rules! replayed {
    ($($property:ident)+) => {
        $(#[test]
        fn $property() {
            replay(stringify!($property));
        })+

        /// A property without a test, a target or seeds would only look checked.
        #[test]
        fn each_property_is_replayed_and_has_a_target() {
            let known = PROPERTIES.map(|(name, _)| name);
            assert_eq!(known, [$(stringify!($property)),+]);
            let names = |folder: &str| {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
                let files = std::fs::read_dir(folder).expect("the folder is there");
                let stem = |path: PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
                let mut names: Vec<_> = files.filter_map(|file| stem(file.ok()?.path())).collect();
                names.sort();
                names
            };
            assert_eq!(names("fuzz_targets"), known);
            assert_eq!(names("seeds"), known);
            let manifest = include_str!("../../Cargo.toml");
            let bins = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
            assert_eq!(bins.collect::<Vec<_>>(), known.map(|name| format!("{name}.rs\"")));
        }
    };
}

replayed! {
    auth_declared auth_key_sets auth_keys auth_tokens body_lines body_unpack claude_code_hooks client_addresses
    client_frames client_queries cloud_events command_events config dialect_events dialect_messages dialect_requests
    engine_io events log_checkpoints log_messages names recordings sse store_replies ws_deflate ws_handshake
    ws_reader
}
