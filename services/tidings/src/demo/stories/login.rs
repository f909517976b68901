//! A bug is found and fixed: the usual way, with a failing test on it.

use serde_json::json;

use crate::demo::scene::Scene;

pub(super) fn play(scene: &mut Scene<'_>) {
    let browser = scene.pick(&["Safari 18", "Firefox 141", "Chrome on Android"]);
    scene.opens(
        &format!("Users on {browser} are sent back to the login page for ever"),
        "bug fix",
        &[
            ["planner", "Planner", "splits the task and keeps the plan"],
            ["researcher-1", "Researcher", "reads the code and its history"],
            ["researcher-2", "Researcher", "reads logs and reports"],
            ["coder-1", "Coder", "writes the change"],
            ["reviewer", "Reviewer", "reads the change before anyone else"],
        ],
    );
    scene.stage("understand", 5, "Reading the report");
    scene.status("planner", "analyzing", 10, "Reading issue #4127 and its 14 comments");
    scene.wait(1.0);
    scene.says(
        "planner",
        "Three reports, all after the release of Tuesday, all with a cookie banner that was declined. I want the history \
         of the session cookie, and what the edge logs say about the redirects.",
    );
    scene.turns("planner", "researcher-1", "delegation", "What changed in the session cookie since release 8.2?");
    scene.turns("planner", "researcher-2", "delegation", "What do the edge logs say about /login?");
    scene.together(&[history, logs]);
    scene.thinks(
        "planner",
        "Why is the cookie gone on the second request?",
        &[
            "The cookie is set on the answer of the identity provider, which is a cross-site POST.",
            "Since the change it has SameSite=Lax, and a Lax cookie is not sent along with a cross-site POST.",
            "So the second request has no session, and the login starts again: that is the loop.",
        ],
        "SameSite=Lax on the session cookie breaks the return from the identity provider",
    );
    scene.stage("fix", 45, "A test first, then the change");
    scene.turns("planner", "coder-1", "handoff", "Write the test that shows the loop, then fix it");
    scene.status("coder-1", "working", 20, "Writing a test for the cross-site return");
    scene.uses(
        "coder-1",
        "file.edit",
        &json!({ "path": "tests/login_return.rs", "lines": 41 }),
        0.9,
        "created, 41 lines",
    );
    scene.fails_with(
        "coder-1",
        "cargo.test",
        &json!({ "filter": "login_return" }),
        2.4,
        "1 of 3 failed\nlogin_return::after_cross_site_post: expected 200, got 302 to /login",
    );
    scene.log("coder-1", "info", "The test shows the loop: good");
    scene.status("coder-1", "working", 60, "Changing how the cookie is set");
    scene.uses("coder-1", "file.edit", &json!({ "path": "src/session/cookie.rs", "lines": 7 }), 0.8, "+5 -2");
    scene.progress(70, "Change is written, tests run");
    let passed = scene.number(410..440);
    scene.uses("coder-1", "cargo.test", &json!({}), 3.0, &format!("{passed} passed, 0 failed"));
    scene.log("coder-1", "success", "All tests pass");
    scene.stage("review", 80, "A second pair of eyes");
    scene.turns("coder-1", "reviewer", "review", "7 lines in src/session/cookie.rs, and a test");
    scene.status("reviewer", "analyzing", 50, "Reading the change");
    scene.wait(1.2);
    scene.says(
        "reviewer",
        "SameSite=None needs Secure, and it has it. The old cookie is taken over on the first request, so nobody is \
         logged out. I would merge this.",
    );
    scene.output("coder-1", "diff", DIFF);
    scene.finishes("reviewer", "approved", "No objections");
    scene.finishes("coder-1", "merged", "One change, one test");
    scene.finishes("planner", "done", "The cause is understood and gone");
    scene.closes("The session cookie survives the return from the identity provider; a test keeps it so");
}

fn history(scene: &mut Scene<'_>) {
    scene.status("researcher-1", "processing", 20, "Searching for the session cookie");
    let files = scene.number(3..8);
    scene.uses(
        "researcher-1",
        "repo.search",
        &json!({ "query": "Set-Cookie", "path": "src/" }),
        0.8,
        &format!("12 matches in {files} files"),
    );
    scene.uses(
        "researcher-1",
        "git.log",
        &json!({ "path": "src/session/cookie.rs", "since": "8.2" }),
        0.6,
        "3 commits; b41f9c2 \"session: SameSite=Lax by default\"",
    );
    scene.status("researcher-1", "processing", 80, "Reading commit b41f9c2");
    scene.wait(0.8);
    scene.log("researcher-1", "success", "b41f9c2 sets SameSite=Lax on every cookie, the session's too");
    scene.finishes("researcher-1", "found", "One commit changed the cookie");
}

fn logs(scene: &mut Scene<'_>) {
    scene.status("researcher-2", "processing", 10, "Asking the edge logs for /login");
    scene.wait(0.5);
    let loops = scene.number(180..420);
    scene.uses(
        "researcher-2",
        "logs.query",
        &json!({ "path": "/login", "status": 302, "hours": 24 }),
        1.7,
        &format!("{loops} clients with more than 5 redirects in a minute"),
    );
    scene.log("researcher-2", "warning", &format!("{loops} people are in the loop today, all came by single sign-on"));
    scene.finishes("researcher-2", "found", "Only single sign-on is affected");
}

const DIFF: &str = "\
-    cookie.same_site(SameSite::Lax)
+    // The identity provider returns with a cross-site POST, which carries no Lax cookie.
+    cookie.same_site(SameSite::None).secure(true)
";
