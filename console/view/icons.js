// Signs by status: each differs in shape as well as in colour.

export const ICONS = {
  idle: "M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10",
  active: "M8 2.5a5.5 5.5 0 1 1-5.5 5.5M8 6.2a1.8 1.8 0 1 0 0 3.6a1.8 1.8 0 1 0 0-3.6",
  waiting: "M5.5 3.5v9M10.5 3.5v9",
  completed: "M3 8.5l3.2 3.2L13 4.8",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M8 2.8a5.2 5.2 0 1 0 0 10.4a5.2 5.2 0 1 0 0-10.4M4.4 11.6l7.2-7.2",
  lost: "M6 5.8c0-2.9 4.4-2.9 4.4 0c0 2-2.3 2-2.3 4M8.1 12.6v.2",
  gap: "M2 8h3M11 8h3M7 5l2 6",
  tool: "M9.6 3.2a3 3 0 0 0 3.4 4.1l-5.7 5.7a1.5 1.5 0 0 1-2.2-2.2l5.7-5.7",
  message: "M2.8 3.5h10.4v7.4H7.4L4.6 13v-2.1H2.8z",
  status: "M8 6.4a1.6 1.6 0 1 0 0 3.2a1.6 1.6 0 1 0 0-3.2",
  log: "M3 4.5h10M3 8h10M3 11.5h6",
  other: "M4 8h.1M8 8h.1M12 8h.1",
  chevron: "M5.5 3.5L10 8l-4.5 4.5",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  light: "M8 5.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 1 0 0-5.6M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7",
  dark: "M13 9.6A5.5 5.5 0 0 1 6.4 3a5.5 5.5 0 1 0 6.6 6.6",
  down: "M8 3v9.5M4.2 8.8L8 12.6l3.8-3.8",
  hand: "M8 5v4M8 11.6v.1M8 2L1.8 13.5h12.4z",
};

const FAMILIES = new Map([
  ["idle", "idle"],
  ["analyzing", "active"], ["processing", "active"], ["working", "active"], ["collaborating", "active"], ["running", "active"],
  ["waiting", "waiting"],
  ["completed", "completed"],
  ["failed", "failed"], ["error", "failed"],
  ["cancelled", "cancelled"],
  ["lost", "lost"],
]);

/** The few looks that the many statuses have. */
export function familyOf(status) {
  return FAMILIES.get(status.toLowerCase()) ?? "active";
}
