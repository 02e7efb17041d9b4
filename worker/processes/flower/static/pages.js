// Renews the part of a page that is marked data-live. Without this script, a reload does the same.
"use strict";

const EVERY_MS = 5000;

async function renew() {
  const live = document.querySelector("[data-live]");
  if (!live || document.hidden || live.contains(document.activeElement) || !getSelection().isCollapsed) return;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (fresh) live.replaceWith(fresh);
}

// A server that does not respond is asked again next time.
setInterval(() => renew().catch(() => {}), EVERY_MS);
