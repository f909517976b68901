// What a person sees on the live page, in a real browser against a real server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cable, Eyes, freshProject, launch, Runner, serverUrl } from "./harness.mjs";

/** How long a test may take with all that it waits for: a bound for broken code, not a measure. */
const TEST_MS = 120_000;

let browser;
before(async () => {
  serverUrl();
  browser = await launch();
});
after(() => browser?.close());

/** The first test that took too long: what hangs is shared by all, and the others need not wait for it one by one. */
let hung;

/** Runs a test with a page on a fresh project; the page must come through without a fault. */
function watch(name, body, options) {
  test(name, { timeout: TEST_MS }, async (context) => {
    if (hung) throw new Error(`not tried, since "${hung}" hung`);
    let isOver = false;
    // It is aborted behind every test, too.
    context.signal.addEventListener("abort", () => isOver || (hung ??= name));
    try {
      await look(body, options);
    } finally {
      isOver = true;
    }
  });
}

async function look(body, options) {
  const project = freshProject();
  const cable = await Cable.plugIn();
  let eyes;
  try {
    eyes = await Eyes.on(browser, cable.url, project, options);
    await eyes.linkSays("Live");
    await body({ eyes, cable, project, runner: new Runner(project) });
    assert.deepEqual(eyes.faults, []);
  } finally {
    // Whatever failed: a cable that stays plugged in keeps the whole run from ending.
    cable.unplug();
    await eyes?.context.close();
  }
}

watch("an empty project tells how to post, and a first event shows at once", async ({ eyes, project, runner }) => {
  await eyes.sees(eyes.page.locator("#welcome"), `/v1/projects/${project}/events`);
  await eyes.sees(eyes.page.locator("#welcome"), "tidings demo");
  await runner.say("session.started", { title: "My first session" });
  await eyes.sees(eyes.sessions, "My first session");
  await eyes.sees(eyes.rows, "My first session");
  await eyes.page.locator("#welcome").waitFor({ state: "hidden" });
  await eyes.sees(eyes.page.getByRole("navigation", { name: "Projects" }), project);
});

watch("a session that is deleted goes from the page, the last one too", async ({ eyes, runner }) => {
  await runner.say("session.started", { title: "To be kept" }, { session: "kept" });
  await runner.say("session.started", { title: "To be deleted" }, { session: "gone" });
  await runner.say("approval.requested", { approval_id: "a1", question: "Delete me?", options: ["yes", "no"] }, { session: "gone" });
  await eyes.sees(eyes.sessions, "To be deleted");
  await eyes.sees(eyes.page.locator("#approvals"), "Delete me?");
  await runner.deletes("gone");
  await eyes.until(() => !document.querySelector("#sessions").textContent.includes("To be deleted"));
  await eyes.until(() => !document.querySelector("#approvals").textContent.includes("Delete me?"));
  await eyes.sees(eyes.sessions, "To be kept");
  await runner.deletes("kept");
  await eyes.until(() => !document.querySelector("#sessions").textContent.includes("To be kept"));
  // It lives again, with nothing of before.
  await runner.say("session.started", { title: "Once more" }, { session: "gone" });
  await eyes.sees(eyes.sessions, "Once more");
});

watch("approvals are answered on the page", async ({ eyes, runner }) => {
  const approvals = eyes.page.getByRole("region", { name: "Open approvals" });
  await runner.say("approval.requested", { approval_id: "a", question: "Run it?", options: ["allow", "deny"], tool: "Bash", input: { command: "rm -rf build" } });
  await eyes.sees(approvals, "rm -rf build");
  // A refusal is said, and another answer may be given.
  const refuse = (route) => route.fulfill({ status: 403, contentType: "application/problem+json", body: JSON.stringify({ detail: "Only approvers may." }) });
  await eyes.page.route("**/commands", refuse);
  await approvals.getByRole("button", { name: "allow" }).click();
  await eyes.sees(approvals, "Only approvers may.");
  await eyes.page.unroute("**/commands", refuse);
  // What comes beside it leaves the card, and what is being written, where they are.
  await runner.say("approval.requested", { approval_id: "b", question: "Which branch?", options: [] });
  const field = approvals.getByRole("textbox", { name: "Your answer" });
  await field.fill("main");
  await runner.say("approval.requested", { approval_id: "c", question: "And then?", options: ["stop"] });
  await eyes.sees(approvals, "And then?");
  await approvals.getByRole("button", { name: "deny" }).click();
  await eyes.sees(eyes.rows, "Answered: deny");
  await eyes.until(() => !document.querySelector("#approvals").textContent.includes("Run it?"));
  await field.press("Enter");
  await eyes.sees(eyes.rows, "Answered: main");
  await approvals.getByRole("button", { name: "stop" }).click();
  await approvals.waitFor({ state: "hidden" });
});

watch("progress, agents, tools and approvals move with their events", async ({ eyes, runner }) => {
  await runner.say("session.started", { title: "Build" });
  await runner.say("session.progress", { progress: 25, phase: "Plan" });
  const bar = eyes.page.getByRole("progressbar", { name: "Progress of the session" });
  await eyes.until(() => document.querySelector(".session-progress [role=progressbar]")?.ariaValueNow === "25");
  await runner.say("session.progress", { progress: 80, phase: "Build" });
  await eyes.until(() => document.querySelector(".session-progress [role=progressbar]")?.ariaValueNow === "80");
  assert.equal(await bar.isVisible(), true);

  await runner.say("agent.started", { name: "Planner", role: "lead" }, { agent: "p" });
  await runner.say("agent.started", { name: "Coder" }, { agent: "c", parent: "p" });
  await runner.say("agent.status", { status: "working", progress: 40, message: "Writing the parser" }, { agent: "c" });
  const coder = eyes.page.locator(".agent", { hasText: "Coder" });
  await eyes.sees(coder, "Writing the parser");
  await eyes.sees(coder, "working 40 %");
  assert.equal(await coder.getAttribute("data-depth"), "1");

  await runner.say("tool.started", { call_id: "t1", name: "cargo_check" }, { agent: "c" });
  await eyes.sees(coder.locator(".agent-tools"), "cargo_check");
  await runner.say("tool.completed", { call_id: "t1", name: "cargo_check", duration_ms: 12 }, { agent: "c" });
  await coder.locator(".agent-tools").waitFor({ state: "hidden" });

  await runner.say("approval.requested", { approval_id: "a", question: "Deploy?", options: ["yes", "no"] }, { agent: "c" });
  const approvals = eyes.page.getByRole("region", { name: "Open approvals" });
  await eyes.sees(approvals, "Deploy?");
  await runner.say("approval.resolved", { approval_id: "a", decision: "yes", by: "ada" });
  await approvals.waitFor({ state: "hidden" });

  await runner.say("session.failed", { error: "out of budget" });
  await eyes.sees(eyes.page.locator(".session[data-family=failed]"), "out of budget");
});

watch("a message grows in place and ends as one row", async ({ eyes, runner }) => {
  await runner.say("session.started", { title: "Talk" });
  await runner.say("agent.started", { name: "Speaker" }, { agent: "a" });
  const pieces = ["Once ", "upon ", "a ", "time"];
  for (const text of pieces) await runner.say("message.delta", { message_id: "m", text }, { agent: "a" });
  await eyes.sees(eyes.page.locator(".agent-said[data-streaming=true]"), "Once upon a time");
  await runner.say("message.completed", { message_id: "m", role: "assistant", text: "Once upon a time." }, { agent: "a" });
  await eyes.sees(eyes.page.locator(".agent-said[data-streaming=false]"), "Once upon a time.");
  await eyes.sees(eyes.rows, "Once upon a time.");
  assert.equal(await eyes.rows.filter({ hasText: "Once upon" }).count(), 1);
});

const HOSTILE = [
  `<img src=x onerror="alert(1)"><script>alert(2)</script>`,
  `"><svg onload=alert(3)><a href="javascript:alert(4)">x</a>`,
  `&lt;b&gt; {{7*7}} \${alert(5)}`,
];

watch("hostile text stays text wherever it shows", async ({ eyes, runner }) => {
  for (const [at, text] of HOSTILE.entries()) {
    const session = `__proto__${at}`;
    await runner.say("session.started", { title: text, mode: text }, { session });
    await runner.say("session.progress", { progress: 5, phase: text, message: text }, { session });
    await runner.say("agent.started", { name: text, role: text }, { session, agent: "constructor" });
    await runner.say("agent.status", { status: "working", message: text }, { session, agent: "constructor" });
    await runner.say("log", { level: "error", message: text }, { session });
    await runner.say("tool.started", { call_id: "c", name: text.slice(0, 60), input: text }, { session, agent: "constructor" });
    await runner.say("approval.requested", { approval_id: "q", question: text, options: [text] }, { session });
    await runner.say("custom.thing", { [text.slice(0, 40)]: text }, { session });
    await runner.say("message.delta", { message_id: "m", text }, { session, agent: "constructor" });
    await eyes.sees(eyes.page.locator(".session-title"), text);
    await eyes.sees(eyes.page.locator(".agent-name"), text);
    await eyes.sees(eyes.page.locator(".question"), text);
    await eyes.sees(eyes.rows.locator(".words"), text);
    await eyes.sees(eyes.page.locator(".agent-said"), text);
  }
  // Opened rows show the whole event, as text too.
  for (const row of await eyes.rows.locator("summary").all()) await row.click();
  const made = await eyes.page.locator("img, main script, aside script, main a, aside a, [onload], [onerror], b").count();
  assert.equal(made, 0, "text became markup");
});

watch("control characters and reading order are made visible, not obeyed", async ({ eyes, runner }) => {
  await runner.say("session.started", { title: "\u202eexe.gpj\u202c" });
  await eyes.sees(eyes.page.locator(".session-title"), "[U+202E]exe.gpj[U+202C]");
  await runner.say("log", { level: "info", message: "\u001b[31mred\u001b[0m \u0007bell" });
  await eyes.sees(eyes.rows.locator(".words"), "red \u2407bell");
});

watch("a line of 100 kB is cut in the feed and does not widen the page", async ({ eyes, runner }) => {
  await runner.say("log", { level: "info", message: `begin${"W".repeat(100_000)}` });
  await eyes.sees(eyes.rows.locator(".words"), "begin");
  await eyes.sees(eyes.rows.locator(".words"), "(+96,005 characters)");
  const wide = await eyes.page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll(".feed, .words")].filter((node) => node.scrollWidth > node.clientWidth).length);
  assert.equal(wide, 0, "something is wider than its place");
});

watch("a cut is shown, the stream resumes, and nothing is missed or told twice", async ({ eyes, cable, runner }) => {
  await runner.say("log", { level: "info", message: "line 0" });
  await eyes.sees(eyes.rows, "line 0");
  cable.cut();
  await eyes.linkSays("Reconnecting");
  for (let line = 1; line <= 150; line += 1) await runner.say("log", { level: "info", message: `line ${line}.` });
  cable.mend();
  await eyes.linkSays("Live");
  await eyes.sees(eyes.rows, "line 150.");
  const lines = await eyes.rows.locator(".words").allTextContents();
  assert.deepEqual(lines, ["line 0", ...Array.from({ length: 150 }, (_, at) => `line ${at + 1}.`)]);
  assert.match(await eyes.record.getAttribute("aria-label"), /^151 events, 0 missed since \d\d:\d\d/);
  await eyes.record.click();
  await eyes.sees(eyes.page.locator("#record"), "1, resumed behind the last event");
});

watch("a gap is listed with its cause and count", async ({ eyes, runner }) => {
  await runner.say("log", { level: "info", message: "before" });
  await runner.post([{ type: "gap", data: { cause: "producer_dropped", lost: 37, certain: true } }]);
  await eyes.sees(eyes.rows, "37 events missed: dropped by the runner before sending");
  await eyes.sees(eyes.record, "37 missed · 1 gap");
  await eyes.record.click();
  await eyes.sees(eyes.page.locator("#record li"), "37 events missed");
});

watch("a page that comes late shows the state and what happened before, once", async ({ eyes, cable, project, runner }) => {
  await runner.say("session.started", { title: "Early" });
  await runner.say("agent.started", { name: "Bird" }, { agent: "b" });
  await runner.say("log", { level: "info", message: "the worm" });
  const late = await Eyes.on(browser, cable.url, project);
  try {
    await late.sees(late.sessions, "Early");
    await late.sees(late.page.locator(".agent-name"), "Bird");
    await late.sees(late.rows, "the worm");
    await runner.say("log", { level: "info", message: "second course" });
    await late.sees(late.rows, "second course");
    assert.deepEqual(await late.rows.locator(".words").allTextContents(), ["Started · Early", "Joined", "the worm", "second course"]);
    assert.deepEqual(late.faults, []);
  } finally {
    await late.context.close();
  }
  await eyes.sees(eyes.rows, "second course");
});

watch("a flood leaves a bounded page that has counted every event", async ({ eyes, runner }) => {
  const batch = (from) => Array.from({ length: 1_000 }, (_, at) => ({
    type: "log", session: "s1", agent: `a${at % 40}`, data: { level: "info", message: `flood ${from + at}.` },
  }));
  for (let from = 0; from < 10_000; from += 1_000) await runner.post(batch(from));
  await eyes.sees(eyes.rows, "flood 9999.");
  await eyes.sees(eyes.record, "10,000 events");
  await eyes.sees(eyes.record, "0 missed");
  assert.equal(await eyes.rows.count(), 300);
});

watch("who scrolls up reads in peace until they jump back", async ({ eyes, runner }) => {
  await runner.post(Array.from({ length: 200 }, (_, at) => ({
    type: "log", session: "s1", data: { level: "info", message: `row ${at}.` },
  })));
  await eyes.sees(eyes.rows, "row 199.");
  await eyes.feed.hover();
  await eyes.page.mouse.wheel(0, -800);
  const jump = eyes.page.locator(".jump");
  await jump.waitFor();
  await runner.say("log", { level: "info", message: "meanwhile" });
  await eyes.sees(jump, "1 new");
  assert.equal(await eyes.rows.filter({ hasText: "meanwhile" }).count(), 0);
  await jump.click();
  await eyes.sees(eyes.rows, "meanwhile");
  await jump.waitFor({ state: "hidden" });
});

watch("the filter box narrows the activity by agent, level and words", async ({ eyes, runner }) => {
  await runner.say("log", { level: "error", message: "broken pipe" }, { agent: "plumber" });
  await runner.say("log", { level: "info", message: "all good" }, { agent: "plumber" });
  await runner.say("log", { level: "error", message: "broken lamp" }, { agent: "electrician" });
  await eyes.sees(eyes.rows, "broken lamp");
  await eyes.page.keyboard.press("/");
  await eyes.page.keyboard.type("agent:plumber level:error broken");
  await eyes.until(() => document.querySelectorAll(".feed-list > li").length === 1);
  await eyes.sees(eyes.rows, "broken pipe");
  await eyes.page.keyboard.press("Escape");
  await eyes.until(() => document.querySelectorAll(".feed-list > li").length === 3);
});

watch("the theme follows the system, and the switch overrules it", async ({ eyes }) => {
  const ground = () => eyes.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await ground();
  await eyes.page.locator("#theme").click();
  assert.notEqual(await ground(), dark);
  await eyes.page.reload();
  assert.notEqual(await ground(), dark, "the choice is remembered");
}, { colorScheme: "dark" });
