//! Files that `tidings replay` reads: SWE-agent, AG-UI and our own.

/// The reader and the three formats.
#[allow(dead_code, reason = "pauses and counts are for playing")]
#[path = "../../../services/tidings/src/replay"]
mod source {
    mod ag_ui;
    mod cut;
    mod native;
    mod recording;
    mod swe_agent;

    /// Each event of a recording as JSON, or what is wrong with the file.
    pub(super) fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
        let recording = recording::Recording::read(bytes, "run.json").map_err(|faults| faults.to_string())?;
        let texts = recording.steps.iter().map(|step| String::from_utf8(step.event.to_json()));
        Ok(texts.collect::<Result<_, _>>().expect("JSON is text"))
    }
}

use source::read;

/// A recording of any format is, written as native events, a recording of the same events; a refusal can be printed on a
/// terminal.
pub(crate) fn recording(data: &[u8]) {
    match read(data) {
        Ok(events) => {
            assert!(!events.is_empty());
            let again = read(events.join("\n").as_bytes());
            assert_eq!(again, Ok(events));
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            assert!(!faults.chars().any(|c| c.is_control() && c != '\n'), "{faults:?}");
        }
    }
}
