//! One that does not work out: the tools fail, the agents try, and the session ends honestly.

use serde_json::json;

use crate::demo::scene::Scene;

pub(super) fn play(scene: &mut Scene<'_>) {
    let test = scene.pick(&["checkout_total", "import_large_file", "search_ranking"]);
    scene.opens(
        &format!("Find out why {test} fails one time in twelve"),
        "investigation",
        &[["planner", "Planner", "splits the task and keeps the plan"], ["coder-1", "Coder", "runs and measures"]],
    );
    scene.stage("reproduce", 10, "Running it until it breaks");
    scene.status("planner", "analyzing", 30, "Reading the last 50 runs");
    let failed = scene.number(3..6);
    scene.uses(
        "planner",
        "ci.runs",
        &json!({ "job": "integration", "last": 50 }),
        1.2,
        &format!("{failed} of 50 failed, all on the same runner pool"),
    );
    scene.turns("planner", "coder-1", "delegation", &format!("Run {test} until it fails, on that pool"));
    scene.status("coder-1", "processing", 5, "Asking for a runner of pool east-2");
    scene.fails_with(
        "coder-1",
        "ci.reserve",
        &json!({ "pool": "east-2" }),
        3.1,
        "connection timed out after 3 s: runners.east-2.internal",
    );
    scene.log("coder-1", "warning", "No runner of that pool answers; trying once more in a moment");
    scene.wait(2.0);
    scene.fails_with(
        "coder-1",
        "ci.reserve",
        &json!({ "pool": "east-2", "attempt": 2 }),
        3.1,
        "connection timed out after 3 s: runners.east-2.internal",
    );
    scene.thinks(
        "coder-1",
        "Go on elsewhere?",
        &[
            "All failures were on east-2, none elsewhere in 600 runs.",
            "A run on another pool would pass and prove nothing.",
        ],
        "Without east-2 there is nothing to measure",
    );
    scene.says(
        "coder-1",
        "I cannot reach the only pool where this fails. A green run elsewhere would tell you nothing, so I stop here \
         instead of making one.",
    );
    scene.log("coder-1", "error", "Pool east-2 is out of reach: nothing was measured");
    scene.status("coder-1", "failed", 5, "No runner");
    scene.finishes("coder-1", "failed", "The pool is out of reach");
    scene.finishes("planner", "failed", "Not reproduced");
    scene.breaks("the runner pool east-2 does not answer; the failure could not be reproduced", "pool_unreachable");
}
