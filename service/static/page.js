// The page at `/`: sends a request, shows the list before and after. Whatever comes from a request or a
// catalogue is written as text (textContent), never as markup.
"use strict";

const STAGES = ["decode", "queue", "encode", "score", "order"];
const SHOWN = 12; // of the history, until asked for more
const RETRY = 1000; // milliseconds between questions while the model loads
const REASONS = {
  deadline: "no scores within the deadline",
  overload: "too many requests at once",
  model_error: "the model failed on this request",
  nonfinite: "the model gave scores that are not numbers",
  no_model: "no model is loaded",
};
const by = (id) => document.getElementById(id);
const state = { samples: [], titles: new Map(), chosen: 0, sent: 0, unfolded: false };

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- the service ---------------------------------------------------------------------------------

const UNREACHABLE = { type: "unreachable", message: "The service cannot be reached." };

async function ask(path, body) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (by("key").value) headers.Authorization = `Bearer ${by("key").value}`;
  const response = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body })
    .catch(() => { throw Object.assign(new Error("unreachable"), { said: UNREACHABLE }); });
  const text = await response.text();
  let content = null;
  try { content = JSON.parse(text); } catch { /* what is no JSON is shown as an error below */ }
  if (response.ok && content !== null) return content;
  const said = content?.error ?? { type: "no_json", message: text.slice(0, 300) || "no answer" };
  throw Object.assign(new Error(said.message), { status: response.status, said });
}

async function start() {
  try {
    const [info, found] = await Promise.all([ask("/info"), ask("/page/samples")]);
    by("key-label").hidden = !by("key").value;
    by("modes").hidden = info.modes.length < 2;
    state.samples = found.samples;
    learn(found.titles);
    fillPicker();
    silence();
    choose(0);
  } catch (error) {
    by("model").textContent = error.status === 503 ? "the model is loading …" : "not available";
    if (error.status === 401) askForKey();
    else if (error.status === 503) setTimeout(start, RETRY);
    showError(error);
  }
}

function askForKey() {
  by("key-label").hidden = false;
  by("key").focus();
}

function learn(titles) {
  for (const [id, title] of Object.entries(titles)) state.titles.set(id, title);
}

async function learnMissing(ids) {
  const missing = [...new Set(ids)].filter((id) => !state.titles.has(id));
  if (missing.length) learn((await ask("/page/titles", JSON.stringify({ ids: missing }))).titles);
}

// --- requests ------------------------------------------------------------------------------------

const idOf = (item) => String(item !== null && typeof item === "object" ? item.id : item);

function candidatesOf(request) {
  const given = request.candidates ?? [];
  if (Array.isArray(given)) return given.map((item) => ({ id: idOf(item), score: item?.score ?? null }));
  return given.id.map((id, place) => ({ id: String(id), score: given.score?.[place] ?? null }));
}

const historyOf = (request) => (request.history ?? []).map(idOf);

function describe(request, place) {
  const features = Object.values(request.user?.features ?? {}).map((value) =>
    Array.isArray(value) ? value.join(", ") : typeof value === "number" ? +value.toPrecision(4) : value);
  const who = features.filter((value) => value !== null && value !== "").join(", ");
  const past = historyOf(request).length;
  const count = candidatesOf(request).length;
  const history = past ? `a history of ${past}` : "no history";
  const known = who || past ? [who, history].filter(Boolean).join(" · ") : "nothing known of the person";
  return `${place + 1}: ${known}, ${count} candidate${count === 1 ? "" : "s"}`;
}

function fillPicker() {
  by("sample").replaceChildren(
    ...state.samples.map((request, place) => {
      const option = element("option", "", describe(request, place));
      option.value = place;
      return option;
    }),
  );
}

function choose(place) {
  const count = state.samples.length;
  if (!count) return;
  state.chosen = (place + count) % count;
  by("sample").value = state.chosen;
  state.unfolded = false;
  const request = state.samples[state.chosen];
  const size = candidatesOf(request).length;
  by("top").max = by("top").value = size;
  write({ ...request, top_k: size, ...modeChosen() });
  send();
}

function modeChosen() {
  const mode = document.querySelector("input[name=mode]:checked").value;
  return by("modes").hidden || mode === "scorer" ? {} : { mode };
}

// Long lists of plain values stay on one line, so that a request fits the eye.
function pretty(value) {
  const flat = /\[\s+((?:"(?:[^"\\]|\\.)*"|[-\d.eE+]+|null|true|false)(?:,\s+(?:"(?:[^"\\]|\\.)*"|[-\d.eE+]+|null|true|false))*)\s+\]/g;
  return JSON.stringify(value, null, 2).replace(flat, (_, inner) => `[${inner.replace(/,\s+/g, ", ")}]`);
}

const write = (request) => { by("body").value = pretty(request); };

function read() {
  by("body").classList.remove("wrong");
  try {
    return JSON.parse(by("body").value);
  } catch {
    return null;
  }
}

function change(fields) {
  const request = read();
  if (request === null || typeof request !== "object") return showBroken();
  const changed = { ...request, ...fields };
  for (const [name, value] of Object.entries(changed)) if (value === undefined) delete changed[name];
  write(changed);
  return send();
}

function showBroken() {
  by("body").classList.add("wrong");
  showError({ said: { type: "not_json", message: "The text below is not JSON; mend it, or go back to the sample." } });
}

async function send() {
  const number = ++state.sent;
  by("lists").setAttribute("aria-busy", "true");
  const text = by("body").value;
  const began = performance.now();
  try {
    const answer = await ask("/rerank", text);
    const waited = performance.now() - began;
    const request = JSON.parse(text);
    await learnMissing([...historyOf(request), ...candidatesOf(request).map((one) => one.id)]);
    if (number === state.sent) show(request, answer, waited); // else another was sent meanwhile
  } catch (error) {
    if (number !== state.sent) return;
    if (error.status === 401) askForKey();
    showError(error);
  } finally {
    if (number === state.sent) by("lists").setAttribute("aria-busy", "false");
  }
}

// --- what is shown -------------------------------------------------------------------------------

function show(request, answer, waited) {
  const fallback = answer.fallback;
  if (fallback) showFallback(fallback); else silence();
  by("model").textContent = answer.model
    ? `${answer.model.name} · version ${answer.model.version}` : "no model";
  by("after-title").textContent = fallback ? "fallback: still the incoming order"
    : request.mode === "generator" ? "by the generator" : "by the scorer";
  showHistory(historyOf(request));
  showLists(candidatesOf(request), answer.results, Boolean(fallback));
  showTimes(answer.timings_ms, waited);
  followRequest(request);
  by("answer").textContent = pretty(answer);
  markStale(false);
}

// The controls say what was sent, whoever wrote it.
function followRequest(request) {
  by("top").value = request.top_k ?? "";
  by("top").max = Math.max(1, candidatesOf(request).length);
  document.querySelector(`input[name=mode][value=${request.mode ?? "scorer"}]`).checked = true;
}

function title(id) {
  const known = state.titles.get(id);
  const made = element("span", known === null || known === undefined ? "title cold" : "title", known ?? `unknown item ${id}`);
  made.title = known ? `${known} (id ${id})` : `id ${id}`;
  return made;
}

function showHistory(ids) {
  by("past-count").textContent = ids.length ? `${ids.length}, newest first` : "";
  const some = state.unfolded ? ids : ids.slice(0, SHOWN);
  const chips = some.map((id) => {
    const chip = element("li");
    chip.append(...title(id).childNodes);
    return chip;
  });
  by("history").replaceChildren(...(chips.length ? chips : [element("p", "empty", "None: the model knows nothing this person did.")]));
  by("more").hidden = ids.length <= SHOWN;
  by("more").textContent = state.unfolded ? "Show fewer" : `Show all ${ids.length}`;
  by("more").onclick = () => { state.unfolded = !state.unfolded; showHistory(ids); };
}

function showLists(candidates, results, isFallback) {
  const placeAfter = new Map(results.map((one) => [one.index, one.rank - 1]));
  by("before").replaceChildren(...candidates.map((one, place) => beforeRow(one, place, placeAfter)));
  by("after").replaceChildren(...results.map((one) => afterRow(one)));
  by("moved").replaceChildren(...movedText(results, candidates.length, isFallback));
  drawLines();
}

function row(place, id) {
  const made = element("li");
  made.dataset.index = place;
  made.append(element("span", "rank", ""), title(id));
  made.addEventListener("pointerenter", () => light(place, true));
  made.addEventListener("pointerleave", () => light(place, false));
  return made;
}

function beforeRow(candidate, place, placeAfter) {
  const made = row(place, candidate.id);
  made.firstChild.textContent = place + 1;
  const facts = element("span", "facts");
  if (candidate.score !== null) facts.append(element("span", "note", `earlier ${candidate.score.toPrecision(3)}`));
  if (!placeAfter.has(place)) {
    made.classList.add("gone");
    facts.append(element("span", "note", "beyond top k"));
  }
  made.append(facts);
  return made;
}

function afterRow(result) {
  const made = row(result.index, result.id);
  made.firstChild.textContent = result.rank;
  const facts = element("span", "facts");
  facts.append(scoreOf(result.score), deltaOf(result));
  made.append(facts);
  return made;
}

function scoreOf(score) {
  const made = element("span", "score");
  if (score === null) {
    made.append(element("span", "note", "no score"));
    return made;
  }
  const meter = element("meter");
  meter.value = score;
  meter.setAttribute("aria-hidden", "true");
  made.append(element("span", "", score.toFixed(3)), meter);
  return made;
}

const movedBy = (result) => result.index + 1 - result.rank; // places up

function direction(places) {
  return places > 0 ? "up" : places < 0 ? "down" : "";
}

function deltaOf(result) {
  const places = movedBy(result);
  const made = element("span", `delta ${direction(places)}`);
  const sign = element("span", "", places > 0 ? `▲ ${places}` : places < 0 ? `▼ ${-places}` : "=");
  sign.setAttribute("aria-hidden", "true");
  const words = places === 0 ? "stayed" : `${places > 0 ? "up" : "down"} ${Math.abs(places)} from ${result.index + 1}`;
  made.title = words;
  made.append(sign, element("span", "visually-hidden", words));
  return made;
}

function movedText(results, count, isFallback) {
  if (!results.length) return ["There is nothing to put in order."];
  if (isFallback) return ["The list stays as it came."];
  const moved = results.filter((one) => movedBy(one));
  if (!moved.length) return [`All ${results.length} stay where they were.`];
  const top = moved.reduce((one, other) => (movedBy(other) > movedBy(one) ? other : one));
  const parts = [element("strong", "", `${moved.length} of ${results.length} moved`)];
  if (movedBy(top) > 0) {
    const name = state.titles.get(top.id) ?? `item ${top.id}`;
    const places = movedBy(top) === 1 ? "1 place" : `${movedBy(top)} places`;
    parts.push("; furthest up ", element("strong", "", name), `, ${places} to ${top.rank}`);
  }
  if (results.length < count) parts.push(`; the top ${results.length} of ${count} are shown`);
  return [...parts, "."];
}

function light(place, on) {
  for (const one of document.querySelectorAll(`#lists [data-index="${place}"]`)) one.classList.toggle("lit", on);
}

function drawLines() {
  const svg = by("lines");
  const box = svg.getBoundingClientRect();
  const middle = (one) => {
    const found = one.getBoundingClientRect();
    return found.top + found.height / 2 - box.top;
  };
  const before = new Map([...by("before").children].map((one) => [one.dataset.index, one]));
  svg.replaceChildren(
    ...[...by("after").children].filter((one) => before.has(one.dataset.index)).map((one, place) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      const [from, to, width] = [middle(before.get(one.dataset.index)), middle(one), box.width];
      line.setAttribute("d", `M2 ${from} C ${width / 2} ${from} ${width / 2} ${to} ${width - 2} ${to}`);
      line.setAttribute("class", direction(Number(one.dataset.index) - place));
      line.dataset.index = one.dataset.index;
      return line;
    }),
  );
}

function showTimes(timings, waited) {
  const known = STAGES.map((name) => [name, timings[name]]);
  const rest = Math.max(0, timings.total - known.reduce((sum, [, value]) => sum + value, 0));
  const parts = [...known, ["rest", rest]];
  const kind = (name) => (name === "score" ? "score-time" : name);
  by("bar").replaceChildren(...parts.map(([name, value]) => {
    const part = element("i", kind(name));
    part.style.width = `${(100 * value) / timings.total}%`;
    return part;
  }));
  by("stages").replaceChildren(...parts.map(([name, value]) => {
    const made = element("div", kind(name));
    made.append(element("dt", "", name), element("dd", "", `${value.toFixed(2)} ms`));
    return made;
  }));
  // A browser's clock may be too coarse to say how long the way took.
  const way = waited > timings.total ? `, ${waited.toFixed(2)} ms with the way there and back` : "";
  by("total").textContent = `${timings.total.toFixed(2)} ms in the service${way}`;
  by("times").hidden = false;
}

function notice(kind, heading, ...lines) {
  const made = by("notice");
  made.className = kind;
  made.replaceChildren(element("strong", "", heading), ...lines.filter(Boolean).map((text) => element("p", "", text)));
  made.hidden = false;
}

function silence() {
  by("notice").hidden = true;
}

function showFallback(reason) {
  notice("fallback", `Fallback (${reason}): the list is in its incoming order, without scores`,
    `Why: ${REASONS[reason] ?? reason}. Callers see this too, in the answer and in a header.`);
}

// After an error, what is still shown belongs to an earlier request.
function markStale(stale) {
  for (const id of ["past", "lists", "times"]) by(id).classList.toggle("stale", stale);
}

function showError(error) {
  markStale(true);
  const said = error.said ?? { type: "fault of this page", message: String(error.message) };
  notice("error", `${error.status ? `${error.status} · ` : ""}${said.type}`, said.message,
    said.param ? `Where: ${said.param}` : "", said.request_id ? `Request ${said.request_id}` : "");
}

// --- what people do ------------------------------------------------------------------------------

document.addEventListener("DOMContentLoaded", () => {
  by("sample").addEventListener("change", () => choose(Number(by("sample").value)));
  by("previous").addEventListener("click", () => choose(state.chosen - 1));
  by("next").addEventListener("click", () => choose(state.chosen + 1));
  by("modes").addEventListener("change", () => change({ mode: undefined, ...modeChosen() }));
  by("top").addEventListener("change", () => change({ top_k: by("top").valueAsNumber || undefined }));
  by("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.samples.length) send(); else start();
  });
  by("again").addEventListener("click", () => (read() === null ? showBroken() : send()));
  by("reset").addEventListener("click", () => choose(state.chosen));
  by("body").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) by("again").click();
  });
  new ResizeObserver(drawLines).observe(by("lists"));
  start();
});
