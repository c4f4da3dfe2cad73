// Keys, and what each may spend: make one, bound it, end it.

import { ask, get } from "./api.js";
import { budget } from "./spend.js";
import { day, empty, fault, fresh, h, put, say, usd } from "./dom.js";

const PERIODS = [["hour", "an hour"], ["day", "a day"], ["week", "a week"], ["month", "a month"], ["total", "in all"]];

export function keys(root, { live }) {
  const trouble = h("div"), shown = h("div"), list = h("div"), accounts = h("div"), trail = h("div");
  let all = false, timer = setInterval(load, 15_000), serial = 0, trailed = [];
  const gone = h("input", { type: "checkbox", id: "gone", onchange: () => { all = gone.checked; load(); } });
  put(root, h("div.page-head", h("div", h("h1", "Keys and budgets"), h("p", "A key is shown once, when it is made; only its hash is kept. A change holds everywhere within a second.")), h("button.button.main", { type: "button", onclick: create }, "New key")),
    h("div.stack", trouble, shown, h("section.panel", { "aria-label": "Keys" }, h("header", h("h2", "Keys"), h("label.tick.small.soft", { for: "gone" }, gone, "show revoked ones")), list),
      h("div.two", h("section.panel", { "aria-label": "Teams and organisations" }, h("header", h("h2", "Teams and organisations"), h("p", "A request must fit into all that stands above its key")), accounts),
        h("section.panel", { "aria-label": "Last changes" }, h("header", h("h2", "Last changes"), h("p", "Nothing is ever taken out of the trail")), trail))));

  async function load() {
    const turn = ++serial;
    try {
      const [{ keys: found }, { limits }, above, entries] = await Promise.all([get("admin/keys"), get("admin/budgets"), get("admin/accounts"), latest()]);
      if (turn !== serial) return;
      fresh(trouble);
      draw(found, limits); holders(above, limits); changes(entries);
    } catch (error) { if (turn === serial) fresh(trouble, fault("Keys cannot be read at the moment", error.message)); }
  }

  /** The trail is told from its beginning: it is read once to its end, and then from there on. */
  async function latest() {
    for (;;) {
      const { entries } = await get("admin/audit", { after: trailed.at(-1)?.seq || 0, limit: 1000 });
      trailed = [...trailed, ...entries].slice(-8);
      if (entries.length < 1000) return trailed;
    }
  }

  const of = (limits, scope, id) => limits.filter((one) => one.scope === scope && one.of === id && one.counts === "money");
  const bounds = (limits, scope, id) => { const mine = of(limits, scope, id); return mine.length ? h("div.stack.tight", mine.map((one) => budget(one, { named: false }))) : h("span.soft", "no budget"); };

  function draw(found, limits) {
    const now = Date.now() / 1000, mine = found.filter((one) => all || !one.revoked).sort((a, b) => b.created_at - a.created_at);
    if (!mine.length) { fresh(list, empty("There is no key but the first", "The one that raygate up made is an admin's and has no limits. Make one for each program or person, so that each has its own budget and can be ended alone.")); return; }
    fresh(list, h("div.scroll", { tabindex: "0", role: "region", "aria-label": "List of keys" }, h("table.folds", h("thead", h("tr", h("th", { scope: "col" }, "Key"), h("th.wide", { scope: "col" }, "May use"), h("th", { scope: "col" }, "Budgets"), h("th.wide", { scope: "col" }, "Made"), h("th", { scope: "col" }, h("span.unseen", "Actions")))),
      h("tbody", mine.map((one) => {
        const ended = one.expires_at !== null && one.expires_at <= now;
        const may = [one.models.length ? one.models.join(", ") : "all models", one.routes.length ? `routes ${one.routes.join(", ")}` : "", one.rate.requests_per_min !== null ? `${one.rate.requests_per_min} requests a minute` : "", one.networks.length ? `from ${one.networks.join(", ")}` : ""].filter(Boolean).join("; ");
        return h("tr", { "data-key": one.id },
          h("td", h("div", h("b", { style: { "font-weight": 600 } }, one.name || "unnamed"), " ", one.admin ? h("span.tag", "admin") : null, " ", one.revoked ? h("span.tag.bad", "revoked") : ended ? h("span.tag.bad", "expired") : null), h("div.small.soft", h("code", one.id), ` ${one.shown}`), one.team || one.org ? h("div.small.soft", [one.team && `team ${one.team}`, one.org && `organisation ${one.org}`].filter(Boolean).join(", ")) : null),
          h("td.wide.small.soft", may), h("td", { style: { "min-width": "170px" } }, bounds(limits, "key", one.id)), h("td.wide.small.soft", day(one.created_at * 1000), one.expires_at ? h("div", `until ${day(one.expires_at * 1000)}`) : null),
          h("td.num", one.revoked ? null : h("span.row", { style: { "justify-content": "flex-end", "flex-wrap": "nowrap" } }, h("button.button.slim", { type: "button", "aria-label": `Set a budget for ${one.name || one.id}`, onclick: () => bound("key", one.id, one.name || one.id, one.budgets) }, "Budget"), h("button.button.slim.danger", { type: "button", "aria-label": `Revoke ${one.name || one.id}`, onclick: () => revoke(one) }, "Revoke"))));
      })))));
  }

  function holders({ teams, orgs }, limits) {
    const every = [...orgs.map((one) => ["org", one]), ...teams.map((one) => ["team", one])];
    fresh(accounts, every.length ? h("div.stack", every.map(([scope, one]) => h("div.stack.tight", h("div.row.apart", h("span", h("b", { style: { "font-weight": 600 } }, one.name || one.id), h("span.soft", ` ${scope === "org" ? "organisation" : "team"}${one.org ? ` of ${one.org}` : ""}`)), h("button.button.slim", { type: "button", "aria-label": `Set a budget for ${one.name || one.id}`, onclick: () => bound(scope, one.id, one.name || one.id, one.budgets) }, "Budget")), bounds(limits, scope, one.id))))
      : empty("None yet", "They bound several keys together: raygate budget and the admin API make them (POST /admin/teams/red)."));
  }

  function changes(entries) {
    const lately = [...entries].reverse();
    fresh(trail, lately.length ? h("ul.stack.tight", lately.map((one) => h("li.row.apart.small", { style: { gap: "0 12px" } }, h("span", h("b", { style: { "font-weight": 600 } }, one.what.replaceAll(/[._]/g, " ")), h("span.soft", ` ${one.subject}`)), h("span.soft", `${one.who} · ${new Date(one.at_ms).toLocaleString([], { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" })}`)))) : empty("Nothing was changed yet"));
  }

  function dialog(title, act, submit, ...fields) {
    const wrong = h("div");
    const box = h("dialog", { "aria-label": title, onclose: () => box.remove() }, h("form", { onsubmit: async (event) => {
      event.preventDefault();
      const sent = box.querySelector("button[type=submit]");
      sent.disabled = true;
      try { await act(); box.close(); load(); } catch (error) { fresh(wrong, fault("That was refused", error.message)); sent.disabled = false; }
    } }, h("h1", title), fields, wrong, h("div.row", { style: { "justify-content": "flex-end" } }, h("button.button", { type: "button", onclick: () => box.close() }, "Cancel"), submit)));
    document.body.append(box);
    box.showModal();
    return box;
  }
  const field = (label, input, hint) => h("label.field", label, input, hint ? h("span.hint", hint) : null);
  const list_of = (text) => text.split(/[\s,]+/).filter(Boolean);
  const periods = (chosen) => h("select", { name: "period" }, PERIODS.map(([id, label]) => h("option", { value: id, selected: id === chosen }, label)));

  function create() {
    const name = h("input", { name: "name", required: true, maxlength: 200, placeholder: "nightly-batch" }), team = h("input", { name: "team" }), models = h("input", { name: "models", placeholder: "openai/*, lab/small" }), usd_in = h("input", { name: "usd", type: "number", min: 0, step: "any", placeholder: "none" }), period = periods("day"), rpm = h("input", { name: "rpm", type: "number", min: 0, placeholder: "unlimited" }), days = h("input", { name: "days", type: "number", min: 0, step: "any", placeholder: "never" }), admin = h("input", { type: "checkbox", name: "admin" });
    dialog("New key", async () => {
      const wish = { name: name.value.trim(), models: list_of(models.value), admin: admin.checked };
      if (team.value.trim()) wish.team = team.value.trim();
      if (usd_in.value) wish.budgets = [{ period: period.value, limit_usd: usd_in.value }];
      if (rpm.value) wish.rate = { requests_per_min: Number(rpm.value) };
      if (days.value) wish.expires_in_days = Number(days.value);
      once(await ask("POST", "admin/keys", wish));
    }, h("button.button.main", { type: "submit" }, "Make it"),
    field("Name", name, "Who or what will use it"), h("div.fields", field("Budget, in dollars", usd_in), field("Each", period)), h("div.fields", field("Requests a minute", rpm), field("Ends after days", days)), field("Models", models, "Patterns with commas between; empty allows all"), field("Team", team, "Its id, if it belongs to one"), h("label.tick", admin, "Admin: may see everything here, and change it"));
  }

  /** The text of a new key, which nobody can show again. */
  function once(made) {
    const text = h("code", { style: { "font-size": "14px", "user-select": "all", "overflow-wrap": "anywhere" }, "data-new-key": true }, made.key);
    const copy = h("button.button", { type: "button", onclick: async () => { try { await navigator.clipboard.writeText(made.key); copy.textContent = "Copied"; say("The key was copied"); } catch { getSelection().selectAllChildren(text); copy.textContent = "Select and copy it"; } } }, "Copy");
    fresh(shown, h("section.panel", { "aria-label": "The new key", role: "status", style: { "border-color": "var(--accent)" } }, h("header", h("h2", `The key “${made.name}”`), h("p", "This is the only time it is shown. Copy it now.")), h("div.row.apart", text, h("span.row", copy, h("button.button.plain", { type: "button", onclick: () => fresh(shown) }, "I have it")))));
    shown.scrollIntoView({ block: "nearest" });
  }

  function revoke(one) {
    dialog(`Revoke “${one.name || one.id}”?`, async () => { await ask("DELETE", `admin/keys/${encodeURIComponent(one.id)}`); say("The key was revoked"); }, h("button.button.danger", { type: "submit" }, "Revoke it for good"),
      h("p", "Within a second whoever shows it is sent away, everywhere. It cannot be brought back; what was spent with it stays in the books."));
  }

  function bound(scope, id, name, had) {
    const first = had[0], amount = h("input", { name: "amount", type: "number", min: 0, step: "any", required: true, value: first ? String(first.limit_usd) : "" }), period = periods(first?.period || "day"), hard = h("input", { type: "checkbox", checked: first ? first.hard : true });
    const where = `admin/budgets/${scope}/${encodeURIComponent(id)}`;
    const box = dialog(`Budget of ${name}`, async () => { await ask("POST", where, { period: period.value, limit_usd: amount.value, hard: hard.checked }); say("The budget holds now"); }, h("button.button.main", { type: "submit" }, "Set it"),
      h("div.fields", field("Dollars", amount), field("Each", period)), h("label.tick", hard, "Refuse requests beyond it; otherwise it only warns"),
      had.length ? h("div", h("h3", "There is already"), had.map((one) => h("div.row.apart", { style: { padding: "5px 0" } }, `${usd(one.limit_usd)} ${PERIODS.find(([it]) => it === one.period)?.[1] || one.period}`, h("button.button.slim", { type: "button", onclick: async () => { await ask("DELETE", `${where}/${one.period}`); box.close(); load(); } }, "Take away")))) : h("p.small.soft", "A budget takes the place of the one for the same period."));
  }

  load();
  return { end() { clearInterval(timer); } };
}
