// The activity: newest at the bottom, a bounded number of rows, written at most once a frame however many events come.
// Who scrolls up reads in peace: the rows stand still until the end is wanted again.

import { button, make, makeIcon, setHidden, setText } from "./dom.js";
import { FeedControls } from "./feed_controls.js";
import { makeRow } from "./feed_row.js";
import { ICONS } from "./icons.js";

const ROWS_MAX = 300;
const AT_END_PX = 24;

export class FeedView {
  #rows = [];
  #feed = null;
  #seen = 0;
  #generation = 0;
  #paused = false;
  #lastTop = 0;
  #scroll = make("div", "feed");
  #list = make("ol", "feed-list");
  #empty = make("p", "hint feed-empty");
  #jump = button("jump", "", () => this.resume());
  #jumpText = make("span");

  constructor(root) {
    this.controls = new FeedControls(() => this.#rebuild(), () => (this.#paused ? this.resume() : this.pause()));
    this.#jump.append(makeIcon(ICONS.down), this.#jumpText);
    this.#scroll.append(this.#list, this.#empty);
    this.#scroll.tabIndex = 0;
    this.#scroll.setAttribute("role", "log");
    this.#scroll.setAttribute("aria-live", "off");
    this.#scroll.setAttribute("aria-label", "Events, newest last");
    this.#scroll.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    // What somebody opened, or reached by keyboard, must not run away.
    this.#list.addEventListener("toggle", (event) => event.target.open && this.pause(), true);
    this.#list.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && this.pause());
    root.append(this.controls.node, this.#scroll, this.#jump);
    this.#showJump();
  }

  follow(feed) {
    this.#feed = feed;
    this.resume();
  }

  pause() {
    this.#paused = true;
    this.controls.setPaused(true);
    this.#showJump();
  }

  /** Goes to the newest entry and stays there. */
  resume() {
    this.#paused = false;
    this.controls.setPaused(false);
    this.#rebuild();
  }

  /** Called once a frame. */
  show() {
    if (this.#generation !== this.#feed.generation && !this.#paused) return this.#rebuild();
    if (this.#paused) return this.#showJump();
    const fresh = this.#feed.since(this.#seen, ROWS_MAX).filter((entry) => this.controls.passes(entry));
    this.#seen = this.#feed.added;
    this.#writeGrown();
    if (fresh.length > 0) this.#append(fresh);
    else this.#stayAtEnd();
  }

  #append(entries) {
    const rows = entries.map(makeRow);
    this.#rows.push(...rows);
    this.#list.append(...rows.map((row) => row.node));
    for (const row of this.#rows.splice(0, this.#rows.length - ROWS_MAX)) row.node.remove();
    this.#showEmpty();
    this.#stayAtEnd();
  }

  #rebuild() {
    if (!this.#feed) return;
    this.#generation = this.#feed.generation;
    this.#seen = this.#feed.added;
    this.#feed.grown.clear();
    this.#rows = this.#feed.newest(ROWS_MAX, (entry) => this.controls.passes(entry)).map(makeRow);
    this.#list.replaceChildren(...this.#rows.map((row) => row.node));
    this.#showEmpty();
    this.#showJump();
    if (!this.#paused) this.#stayAtEnd();
  }

  #writeGrown() {
    const { grown } = this.#feed;
    if (grown.size === 0) return;
    for (const row of this.#rows) if (grown.has(row.entry)) row.write();
    grown.clear();
  }

  #showEmpty() {
    setHidden(this.#empty, this.#rows.length > 0);
    setText(this.#empty, this.#feed.added > 0 ? "Nothing passes the filter." : "Nothing has happened yet.");
  }

  #showJump() {
    const fresh = this.#feed ? this.#feed.added - this.#seen : 0;
    setHidden(this.#jump, !this.#paused);
    setText(this.#jumpText, fresh > 0 ? `${fresh.toLocaleString("en")} new` : "Jump to the newest");
  }

  #stayAtEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#lastTop = this.#scroll.scrollTop;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    const movedPx = scrollTop - this.#lastTop;
    const belowPx = scrollHeight - scrollTop - clientHeight;
    this.#lastTop = scrollTop;
    // Rows that shrink pull the view up as well, but leave nothing below it.
    if (!this.#paused && movedPx < -1 && belowPx > 1) this.pause();
    else if (this.#paused && movedPx > 0 && belowPx < AT_END_PX) this.resume();
  }
}
