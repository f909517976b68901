//! Reading and writing: two researchers bring what they find, a writer makes a page of it.

use serde_json::json;

use crate::demo::scene::Scene;

pub(super) fn play(scene: &mut Scene<'_>) {
    let city = scene.pick(&["Graz", "Utrecht", "Aarhus", "Lyon"]);
    scene.opens(
        &format!("A one-page brief: heat pumps for the old houses of {city}"),
        "research",
        &[
            ["planner", "Planner", "asks the questions"],
            ["researcher-1", "Researcher", "technology and cost"],
            ["researcher-2", "Researcher", "rules and subsidies"],
            ["writer", "Writer", "one page, for people in a hurry"],
        ],
    );
    scene.stage("questions", 5, "What does the reader need to decide?");
    scene.says(
        "planner",
        "Whoever reads this decides about 300 flats. They need three numbers: what it costs per flat, what it saves in a \
         year, and what the city pays. Everything else is a footnote.",
    );
    scene.turns("planner", "researcher-1", "delegation", "Cost per flat, and heat output below freezing");
    scene.turns("planner", "researcher-2", "delegation", "Subsidies in force this year, with their deadlines");
    scene.stage("research", 20, "Two at once");
    scene.together(&[technology, rules]);
    scene.stage("write", 65, "Three numbers, one page");
    scene.turns("planner", "writer", "handoff", "All three numbers are there, sources in the notes");
    scene.status("writer", "working", 30, "Drafting");
    let cost = scene.number(11..16);
    scene.says(
        "writer",
        &format!(
            "A heat pump for an unrenovated flat costs {cost},400 euros, of which the city and the state pay 45 percent \
             this year. It saves about 620 euros of gas a year. The order matters: windows first, or the pump must be a \
             third larger. The subsidy ends on 30 June, and applications take six weeks."
        ),
    );
    scene.turns("writer", "planner", "review", "Is a third larger the right figure for brick walls?");
    scene.wait(1.4);
    scene.says("planner", "Yes, both field studies say 28 to 36 percent. Keep it.");
    scene.output("writer", "brief", &format!("Heat pumps for {city}: one page, 212 words, 6 sources"));
    scene.finishes("writer", "done", "212 words");
    scene.finishes("planner", "done", "Three numbers, six sources");
    scene.closes("The brief is ready: 212 words, three numbers, six sources");
}

fn technology(scene: &mut Scene<'_>) {
    scene.status("researcher-1", "processing", 10, "Looking for field studies");
    scene.uses(
        "researcher-1",
        "web.search",
        &json!({ "query": "field study heat pump unrenovated building", "results": 20 }),
        1.3,
        "20 results, 4 with measurements",
    );
    scene.uses("researcher-1", "web.fetch", &json!({ "document": "field study, 56 buildings" }), 1.8, "48 pages");
    scene.status("researcher-1", "processing", 60, "Reading 48 pages");
    scene.thinks(
        "researcher-1",
        "How much larger without new windows?",
        &["Study one: 28 to 33 percent, 56 buildings.", "Study two: 31 to 36 percent, brick only."],
        "about a third",
    );
    scene.finishes("researcher-1", "found", "Two studies that agree");
}

fn rules(scene: &mut Scene<'_>) {
    scene.wait(0.6);
    scene.status("researcher-2", "processing", 10, "Reading the city's pages");
    scene.fails_with(
        "researcher-2",
        "web.fetch",
        &json!({ "document": "subsidies 2026, leaflet" }),
        1.5,
        "404: the leaflet was withdrawn",
    );
    scene.log("researcher-2", "warning", "The leaflet is gone; going to the text of the regulation instead");
    scene.uses("researcher-2", "web.fetch", &json!({ "document": "regulation, section 4" }), 1.4, "12 pages, in force");
    scene.status("researcher-2", "processing", 80, "Reading section 4");
    scene.wait(1.2);
    scene.log("researcher-2", "success", "45 percent until 30 June, applications take six weeks");
    scene.finishes("researcher-2", "found", "One deadline that matters");
}
