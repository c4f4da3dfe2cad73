// What is asked of the gateway. The key lies in this tab's sessionStorage and goes along in a header.

const KEY = "raygate.key";
export const BASE = new URL("../../../", import.meta.url);

export const key = () => { try { return sessionStorage.getItem(KEY) || ""; } catch { return ""; } };
export function keep(text) {
  try { text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY); } catch { /* kept nowhere */ }
}

export class Refused extends Error {
  constructor(status, message, code) { super(message); this.status = status; this.code = code; }
}

function headers(more) {
  const said = { ...more };
  if (key()) said.authorization = `Bearer ${key()}`;
  return said;
}

export async function ask(method, path, body, { signal, type } = {}) {
  let reply;
  try {
    reply = await fetch(new URL(path, BASE), {
      method, signal, credentials: "omit", cache: "no-store", redirect: "error",
      headers: headers(body === undefined ? {} : { "content-type": "application/json" }),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The gateway cannot be reached. Is it running, and is this machine still connected to it?");
  }
  if (!reply.ok) throw await refusal(reply);
  return type === "raw" ? reply : reply.json();
}

async function refusal(reply) {
  let message = `The gateway answered ${reply.status}.`, code = "";
  try {
    const { error } = await reply.json();
    message = error.message || message; code = error.code || "";
  } catch { /* no JSON: a proxy on the way answered */ }
  return new Refused(reply.status, message, code);
}

export const get = (path, params) => {
  const query = new URLSearchParams(Object.entries(params || {}).filter(([, v]) => v !== "" && v !== undefined && v !== null));
  return ask("GET", query.size ? `${path}?${query}` : path);
};

/** Server-sent events of a reply, one by one: {event, data}. */
export async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      let at;
      while ((at = rest.search(/\r?\n\r?\n/)) >= 0) {
        const block = rest.slice(0, at);
        rest = rest.slice(at).replace(/^\r?\n\r?\n/, "");
        const found = { event: "message", data: "" };
        for (const line of block.split(/\r?\n/)) {
          if (line.startsWith("event:")) found.event = line.slice(6).trim();
          else if (line.startsWith("data:")) found.data += (found.data ? "\n" : "") + line.slice(5).trimStart();
        }
        if (found.data) yield found;
      }
    }
  } finally { reader.cancel().catch(() => {}); }
}
