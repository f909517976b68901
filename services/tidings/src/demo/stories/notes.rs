//! A short one: release notes from the list of changes.

use serde_json::json;

use crate::demo::scene::Scene;

pub(super) fn play(scene: &mut Scene<'_>) {
    let version = scene.number(3..40);
    let changes = scene.number(28..61);
    scene.opens(
        &format!("Release notes for 8.{version}"),
        "writing",
        &[["planner", "Planner", "sorts the changes"], ["writer", "Writer", "says what they mean"]],
    );
    scene.stage("collect", 10, "Everything since the last tag");
    scene.uses(
        "planner",
        "git.log",
        &json!({ "from": format!("v8.{}", version - 1), "to": "main" }),
        0.8,
        &format!("{changes} changes by 9 people"),
    );
    scene.status("planner", "processing", 60, "Leaving out what no user sees");
    scene.wait(1.2);
    scene.log("planner", "info", "6 changes that users see, 2 of them worth a headline");
    scene.turns("planner", "writer", "handoff", "Six changes, two headlines");
    scene.stage("write", 50, "In the words of those who use it");
    scene.status("writer", "working", 40, "Writing");
    scene.says(
        "writer",
        "Exports no longer time out: they are streamed, however long they are. Search understands quotation marks. And \
         four small things that were in your way are not any more.",
    );
    scene.output("writer", "notes", &format!("8.{version}: two headlines, four lines"));
    scene.finishes("writer", "done", "Short enough to be read");
    scene.finishes("planner", "done", "Nothing forgotten");
    scene.closes(&format!("Release notes for 8.{version} are written: two headlines and four lines"));
}
