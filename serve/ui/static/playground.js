// One prompt, one or two ways to have it answered, side by side, as it streams; and what one thinks of the answers.

import { ask, events } from "./api.js";
import { count, fault, fresh, h, icon, ms, nano, put, say } from "./dom.js";
import { names } from "./routing.js";

export function playground(root, { live, admin }) {
  const prompt = h("textarea", { id: "prompt", rows: 4, placeholder: "Ask something …", onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); } } });
  const left = h("select", { id: "left" }), right = h("select", { id: "right" });
  names(left, live);
  names(right, live, { first: h("option", { value: "" }, "nobody beside") });
  const most = h("input", { id: "most", type: "number", min: 1, max: 100000, placeholder: "no limit" });
  const go = h("button.button.main", { type: "submit" }, "Send"), halt = h("button.button", { type: "button", hidden: true, onclick: () => stop?.abort() }, "Stop");
  const better = h("div.row"), answers = h("div.two");
  let stop = null, columns = [], fill = () => columns.forEach((one) => one.bill());
  put(root, h("div.page-head", h("div", h("h1", "Playground"), h("p", "Answers stream as they come. They are real requests: they cost what they cost, on your key."))),
    h("div.stack", h("section.panel", { "aria-label": "Question" }, h("form.stack", { onsubmit: (event) => { event.preventDefault(); send(); } },
      h("label.field", { for: "prompt" }, "Prompt", prompt),
      h("div.fields", h("label.field", { for: "left" }, "Answered by", left), h("label.field", { for: "right" }, "Compared with", right), h("label.field", { for: "most" }, "Most tokens", most)),
      h("div.row", go, halt, h("span.small.soft", "or Ctrl + Enter")))), answers, better));

  async function send() {
    const words = prompt.value.trim();
    if (!words) { prompt.focus(); return; }
    stop?.abort();
    const turn = (stop = new AbortController());
    halt.hidden = false;
    fresh(better);
    columns = [left.value, right.value].filter((name, at) => at === 0 || name).map((name, at) => column(name, at, columns_judged));
    fresh(answers, columns.map((one) => one.el));
    await Promise.all(columns.map((one) => one.run(words, Number(most.value) || null, turn.signal)));
    if (stop === turn) { halt.hidden = true; say("All answers are complete"); columns_judged(); }
  }

  /** Where there are two whole answers one may say which is better. */
  function columns_judged() {
    if (columns.length !== 2 || !columns.every((one) => one.done)) { fresh(better); return; }
    const note = h("span.small.soft", { role: "status" });
    const say_better = async (a, b) => {
      try { await ask("POST", "v1/feedback", { request_id: a.id, better_than: b.id }); fresh(note, "Noted: both models have learned from it."); }
      catch (error) { fresh(note, explain(error)); }
    };
    fresh(better, h("span", "Which is better?"), h("button.button", { type: "button", onclick: () => say_better(columns[0], columns[1]) }, "The left one"), h("button.button", { type: "button", onclick: () => say_better(columns[1], columns[0]) }, "The right one"), note);
  }

  return { update: fill, end() { stop?.abort(); } };

  function column(name, at, over) {
    const who = h("h2", name || "default"), text = h("div.answer.busy", { "aria-busy": "true" }), facts = h("dl.facts.small"), trouble = h("div"), verdict = h("div.row");
    const it = {
      id: "", done: false,
      el: h("section.panel.stack", { "aria-label": `Answer ${at + 1}`, "data-column": at }, h("div.row.apart", who, verdict), trouble, text, facts),
      async run(words, limit, signal) {
        const begun = performance.now();
        let first = null, usage = null, reply = null, finish = "";
        const tell = () => {
          const head = (name) => reply?.headers.get(name);
          const fact = (label, value) => h("div", h("dt", label), h("dd", value));
          fresh(facts, fact("First words", first === null ? "–" : ms(first)), fact("All of it", it.done ? ms(it.took) : "…"), usage ? fact("Tokens", `${count(usage.prompt_tokens)} in, ${count(usage.completion_tokens)} out`) : null, fact("Cost", it.cost === undefined ? (it.done ? "in a moment" : "…") : nano(it.cost)),
            head("x-raygate-attempts") ? fact("Attempts", head("x-raygate-attempts")) : null, head("x-raygate-overhead-ms") ? fact("Raygate's own time", `${head("x-raygate-overhead-ms")} ms`) : null, head("x-raygate-cache") ? fact("Our cache", head("x-raygate-cache")) : null);
        };
        it.tell = tell; tell();
        try {
          reply = await ask("POST", "v1/chat/completions", { model: name || undefined, messages: [{ role: "user", content: words }], stream: true, stream_options: { include_usage: true }, ...(limit ? { max_tokens: limit } : {}) }, { signal, type: "raw" });
          it.id = reply.headers.get("x-request-id") || reply.headers.get("request-id") || "";
          fresh(who, `${reply.headers.get("x-raygate-provider")}/${reply.headers.get("x-raygate-model")}`);
          tell();
          for await (const { data } of events(reply)) {
            if (data === "[DONE]") { finish = finish || "stop"; break; }
            const said = JSON.parse(data);
            if (said.error) throw new Error(said.error.message);
            const choice = said.choices?.[0], piece = choice?.delta?.content;
            if (piece) { if (first === null) { first = performance.now() - begun; tell(); } text.append(piece); }
            if (choice?.finish_reason) finish = choice.finish_reason;
            if (said.usage) usage = said.usage;
          }
          if (!finish) throw new Error("The answer broke off before its end.");
          it.done = true;
          if (finish === "length") put(trouble, h("p.small.soft", "It ended at the limit of tokens."));
        } catch (error) {
          fresh(trouble, error.name === "AbortError" ? h("p.small.soft", "Stopped. What had come by then is paid for.") : fault(reply ? "The answer broke off" : "No answer", error.message));
        }
        it.took = performance.now() - begun;
        text.classList.remove("busy"); text.removeAttribute("aria-busy");
        it.bill(); tell();
        if (it.done && it.id) judge();
        over();
      },
      /** Its rows in the ledger come about a second later. */
      bill() {
        const rows = it.id && it.cost === undefined && live.requests.get(it.id);
        if (!rows) return;
        it.cost = rows.some((row) => row.cost_nanousd === undefined) ? null : rows.reduce((sum, row) => sum + row.cost_nanousd, 0);
        it.tell?.();
      },
    };
    function judge() {
      const note = h("span.small.soft", { role: "status" });
      const thumb = (label, score, sign) => { const el = h("button.button.slim", { type: "button", "aria-pressed": "false", "aria-label": label, title: label, "data-score": score, onclick: async () => {
        for (const one of [good, poor]) one.disabled = true;
        try {
          const { learned } = await ask("POST", "v1/feedback", { request_id: it.id, score });
          good.setAttribute("aria-pressed", String(score === 1)); poor.setAttribute("aria-pressed", String(score === 0));
          fresh(note, learned.length ? `Learned of ${learned[0].model}` : "Noted");
        } catch (error) { fresh(note, explain(error)); }
        for (const one of [good, poor]) one.disabled = false;
      } }, icon(sign)); return el; };
      const good = thumb("Good answer", 1, "up"), poor = thumb("Poor answer", 0, "down");
      fresh(verdict, note, good, poor);
    }
    return it;
  }
}

const explain = (error) => error.code === "unknown_request" ? "Nothing was decided here: only answers of a learned route, or of a model named ruvector-*, teach anything." : error.message;
