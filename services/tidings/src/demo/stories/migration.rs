//! A change that nobody should make alone: a person is asked, and answers.

use serde_json::json;

use crate::demo::scene::Scene;

pub(super) fn play(scene: &mut Scene<'_>) {
    let table = scene.pick(&["orders", "invoices", "shipments"]);
    let rows = scene.number(21..74);
    scene.opens(
        &format!("Split the address out of the table {table}"),
        "database change",
        &[
            ["planner", "Planner", "splits the task and keeps the plan"],
            ["coder-1", "Coder", "writes the migration"],
            ["coder-2", "Coder", "changes the code that reads it"],
        ],
    );
    scene.stage("plan", 5, "Measuring before cutting");
    scene.status("planner", "analyzing", 20, "Looking at the table's size and locks");
    scene.uses(
        "planner",
        "sql.query",
        &json!({ "database": "staging", "query": format!("select count(*) from {table}") }),
        0.9,
        &format!("{rows}.4 million rows"),
    );
    scene.says(
        "planner",
        "Too large for one statement. We add the new table, copy in batches of ten thousand, read from both for a day, and \
         drop the old columns last.",
    );
    scene.stage("write", 25, "Migration and code, side by side");
    scene.together(&[migration, readers]);
    scene.stage("staging", 55, "Ready to run on staging");
    scene.log("coder-1", "info", "Dry run: 0 rows changed, longest lock 38 ms");
    scene.asks(
        "coder-1",
        &format!(
            "Run the migration of {table} on staging? It copies {rows}.4 million rows and takes about six minutes."
        ),
        ["run it", "not now"],
        7.0,
        "maya",
    );
    scene.status("coder-1", "working", 10, "Copying in batches");
    let begin = 55;
    for share in [20, 45, 70, 100] {
        scene.wait(1.6);
        scene.status("coder-1", "working", share, &format!("{share}% of the rows are copied"));
        scene.progress(begin + share * 35 / 100, "Copying on staging");
    }
    scene.uses(
        "coder-1",
        "sql.query",
        &json!({ "database": "staging", "query": "select count(*) from addresses" }),
        0.7,
        &format!("{rows}.4 million rows, none without an owner"),
    );
    scene.log("coder-1", "success", "Row counts match");
    scene.finishes("coder-1", "done", "Staging is migrated");
    scene.finishes("planner", "done", "Production waits for the release window");
    scene.closes("Staging runs on the new table; the change for production is prepared");
}

fn migration(scene: &mut Scene<'_>) {
    scene.turns("planner", "coder-1", "handoff", "The migration, in batches, and a way back");
    scene.status("coder-1", "working", 30, "Writing the migration");
    scene.uses(
        "coder-1",
        "file.edit",
        &json!({ "path": "migrations/0093_addresses.sql", "lines": 38 }),
        1.1,
        "created, 38 lines",
    );
    scene.uses("coder-1", "migrate.check", &json!({ "migration": "0093" }), 1.6, "reversible; longest lock 38 ms");
}

fn readers(scene: &mut Scene<'_>) {
    scene.wait(0.4);
    scene.turns("planner", "coder-2", "handoff", "Read from both places until the copy is done");
    scene.status("coder-2", "working", 40, "Finding who reads the address");
    scene.uses("coder-2", "repo.search", &json!({ "query": "address_line_1" }), 0.7, "9 matches in 5 files");
    scene.turns("coder-2", "coder-1", "question", "Is the country code nullable in the new table?");
    scene.wait(0.6);
    scene.says("coder-1", "No: 4,112 rows have none today, they become 'ZZ' and are listed.");
    scene.uses("coder-2", "file.edit", &json!({ "files": 5 }), 0.9, "+64 -31 in 5 files");
    scene.finishes("coder-2", "done", "All five readers take both");
}
