// The page's part: controls, address, plots. The worker computes.
async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Page {
  constructor(root, data) {
    root.innerHTML = PARTS.html;
    Object.assign(this, { root, data, points: [], running: false, simd: false, batchNumber: 0, frames: 0, finished: [] });
    this.$ = (selector) => root.querySelector(selector);
    this.form = this.$(".lab-controls");
    const settings = Object.entries(data.settings);
    this.form.elements.setting.innerHTML = settings.map(([key, one]) => `<option value="${key}">${one.title}</option>`).join("") + '<option value="own">one’s own</option>';
    this.worker = new Worker(URL.createObjectURL(new Blob([PARTS.worker], { type: "text/javascript" })));
    this.worker.onmessage = ({ data: message }) => this.hear(message);
    this.worker.onerror = (error) => this.say(`The lab stopped: ${error.message}`);
    this.listen();
    this.story = new Story(this);
    this.read();
    this.load();
  }

  async load() {
    let modules = null;
    if ("DecompressionStream" in window && !new URLSearchParams(location.search).has("plain")) {
      modules = Object.fromEntries(await Promise.all(Object.entries(PARTS.modules).map(async ([name, text]) => [name, await inflate(text)])));
    }
    this.worker.postMessage({ what: "load", modules, layouts: PARTS.layouts, blocks: this.data.blocks });
  }

  say(text) { this.$(".lab-status").textContent = text; }

  // From the address to the controls, and a fresh start.
  read() {
    const { name, options, complaint } = fromAddress(location.hash, this.data);
    this.preset = name;
    this.options = options;
    this.say(complaint);
    this.show();
    if (this.ready) this.restart(false);
  }

  // The controls as the options have them.
  show() {
    const { form, options, data } = this, fields = form.elements;
    for (const name of Object.keys(NUMBERS_OF)) {
      const value = at(options, name), field = fields[name];
      if (field.tagName === "SELECT" && ![...field.options].some((o) => Number(o.value || o.text) === value)) field.add(new Option(value));
      field.value = field.type === "range" ? Math.log10(value) : String(value);
    }
    fields.kind.value = options.law.kind;
    fields.k.value = Math.log10(options.law.k ?? 0.1);
    this.$(".lab-k").hidden = options.law.kind !== "gamma";
    const same = Object.entries(data.settings).find(([, one]) => JSON.stringify(one.law) === JSON.stringify(options.law) && one.n === options.n && options.layers === one.layers);
    fields.setting.value = same ? same[0] : "own";
    this.marks(same?.[1]);
    this.outputs();
  }

  outputs() {
    for (const field of this.form.querySelectorAll("input[type=range]")) {
      const text = short(field.name === "k" ? this.options.law.k ?? 10 ** field.value : at(this.options, field.name));
      field.parentElement.querySelector("output").textContent = text;
      field.setAttribute("aria-valuetext", text);
    }
  }

  // Published and best rates under the sliders; a press takes them.
  marks(setting) {
    for (const place of this.root.querySelectorAll(".lab-marks")) {
      const kind = place.dataset.of, field = this.form.elements[`${kind}.lr`];
      place.innerHTML = "";
      const rates = new Map();
      for (const word of ["published", "best"]) {
        const own = setting?.[word]?.[kind];
        if (own) rates.set(own.lr, [...(rates.get(own.lr) ?? []), word]);
      }
      const spots = [...rates].map(([lr, words]) => ({ lr, words, share: (Math.log10(lr) - field.min) / (field.max - field.min) })).sort((a, b) => a.share - b.share);
      spots.forEach((spot, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = `▴ ${spot.words.join(", ")}`;
        button.title = `learning rate ${short(spot.lr)}`;
        const crowded = spots.length > 1 && spots[1].share - spots[0].share < 0.35;
        button.style.left = `${100 * spot.share}%`;
        if (crowded) button.style.transform = index ? "translateX(-0.4em)" : "translateX(calc(-100% + 0.4em))";
        button.onclick = () => { put(this.options, `${kind}.lr`, spot.lr); this.changed(false); };
        place.append(button);
      });
    }
  }

  listen() {
    const { form } = this;
    form.onsubmit = (event) => event.preventDefault();
    form.oninput = (event) => {
      if (event.target.type === "range") this.take(event.target);
      this.outputs();
    };
    form.onchange = (event) => { if (event.target.type !== "range") this.take(event.target); };
    this.$(".lab-run").onclick = () => this.run(!this.running);
    this.$(".lab-restart").onclick = () => this.restart(true);
    this.$(".lab-test").onclick = () => this.worker.postMessage({ what: "test", number: this.batchNumber + 1 });
    this.$(".lab-noise").onclick = () => {
      this.say("Measuring the noise of 1,000 minibatches …");
      this.worker.postMessage({ what: "noise", batch: Math.min(this.options.batch, 400), samples: 1000, reference: 20 });
    };
    this.$(".lab-link").onclick = () => {
      history.replaceState(null, "", toAddress(this.preset, this.options, this.data));
      const said = () => this.say(`This experiment's address: ${location.href}`);
      navigator.clipboard?.writeText(location.href).then(() => this.say("The address of this experiment was copied."), said) ?? said();
    };
    this.$(".lab-log").onchange = this.$(".lab-convention").onchange = () => this.draw();
    window.addEventListener("hashchange", () => { if (/^#preset=/.test(location.hash)) this.read(); });
    document.addEventListener("visibilitychange", () => this.pulse());
    new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; this.pulse(); }).observe(this.root);
    new MutationObserver(() => this.draw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new ResizeObserver(() => this.later()).observe(this.root);
  }

  // A control was changed: rates, momentum and clips apply at once, the rest starts again.
  take(field) {
    const { options, data } = this, name = field.name;
    if (name === "setting") {
      const one = data.settings[field.value];
      if (one) {
        Object.assign(options, structuredClone({ law: one.law, n: one.n, layers: one.layers }));
        for (const kind of ["sgd", "adam"]) if (one.published?.[kind]) Object.assign(options[kind], one.published[kind]);
      }
    } else if (name === "kind" || name === "k") {
      options.law = lawOf(this.form.elements.kind.value, Number((10 ** this.form.elements.k.value).toPrecision(2)));
    } else {
      const text = field.type === "range" ? String(Number((10 ** field.value).toPrecision(2))) : field.value;
      put(options, name, allowed(name, text, at(options, name)));
    }
    if (field.type === "range" && name !== "k") {
      this.worker.postMessage({ what: "change", options });
      this.mixed = this.points.length > 1;
      this.draw();
    } else this.changed(!name.includes("."));
  }

  changed(fresh) {
    this.show();
    if (fresh) this.restart(this.running);
    else {
      this.worker.postMessage({ what: "change", options: this.options });
      this.mixed = this.points.length > 1;
      this.draw();
    }
  }

  restart(run) {
    if (this.options.layers > 4 && !this.simd) {
      this.options.layers = 4;
      this.show();
      this.say("More than 4 layers need a browser with WebAssembly SIMD: these are 4.");
    }
    this.points = [];
    this.noise = null;
    this.batchNumber = 0;
    this.mixed = false;
    this.tests = [];
    this.running = run;
    this.worker.postMessage({ what: "start", options: this.options, run: run && this.awake() });
    this.pressed();
  }

  run(run) {
    if (run && this.points.at(-1)?.step >= this.options.steps) { this.restart(true); return; }
    this.running = run;
    this.pulse();
    this.pressed();
  }

  awake() { return !document.hidden && this.seen !== false; }

  pulse() { if (this.ready) this.worker.postMessage({ what: "run", run: this.running && this.awake() }); }

  pressed() {
    const button = this.$(".lab-run");
    button.textContent = this.running ? "Pause" : "Run";
    button.setAttribute("aria-pressed", String(this.running));
  }

  hear(message) {
    if (message.what === "ready") {
      this.ready = true;
      this.simd = message.simd;
      this.root.dataset.engine = message.simd ? "simd" : "plain";
      this.restart(false);
    } else if (message.what === "news") {
      if (message.fresh) this.points = [];
      this.points.push(...message.points);
      Object.assign(this, { matrices: message.matrices, speed: message.speed, step: message.step, skipped: message.skipped });
      if (message.done) {
        this.running = false;
        this.pressed();
        this.say(this.summary());
        this.story.finished();
      }
      this.later();
    } else if (message.what === "test") {
      this.batchNumber = message.number;
      this.tests.push({ step: this.step, losses: message.losses });
      this.later();
      this.say(`Test batch number ${message.number + 1}, step ${this.step}: SGD's loss is ${short(message.losses[0])}, Adam's ${short(message.losses[1])}; typical losses are ${this.last("typical").map(short).join(" and ")}.`);
    } else if (message.what === "noise") {
      this.noise = message;
      const text = message.found.map(({ norms, gaussian }, k) => {
        const ratio = (values) => quantile(values, 0.99) / quantile(values, 0.5);
        return `${message.found.length > 1 ? ["SGD", "Adam"][k] : "initialization"}: ${short(ratio(norms))} against ${short(ratio(gaussian))}`;
      });
      this.say(`Step ${message.step}, 99% quantile over median of the noise's length, measured against Gaussian: ${text.join("; ")}.`);
      this.later();
    } else if (message.what === "probe") this.answer?.(message);
  }

  // Loss and gradient as the worker computes them, for tests.
  probe(request) {
    return new Promise((resolve) => { this.answer = resolve; this.worker.postMessage({ what: "probe", ...request }); });
  }

  last(name) { return this.points.at(-1)?.[name] ?? [NaN, NaN]; }

  gap() { const [sgd, adam] = this.last("typical"); return sgd / adam; }

  summary() {
    const [sgd, adam] = this.last("typical"), gap = sgd / adam, said = (v) => (Number.isFinite(v) ? short(v) : "lost");
    const who = !Number.isFinite(gap) ? "no ratio: a run was lost" : gap > 1.25 ? `SGD's is ${short(gap)} times Adam's` : gap < 0.8 ? `Adam's is ${short(1 / gap)} times SGD's` : `level, within 25% (${short(gap)})`;
    return `Step ${this.step}: typical loss ${said(sgd)} with SGD, ${said(adam)} with Adam; ${who}.`;
  }

  // Draw at the next frame, once.
  later() {
    if (this.waiting) return;
    this.waiting = true;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches && this.running;
    const next = calm ? (draw) => setTimeout(draw, 1000) : requestAnimationFrame;
    next(() => { this.waiting = false; this.frames++; this.draw(); });
  }

  // The stored curve of the book that this experiment repeats, if there is one.
  ghost(kind) {
    const { options } = this;
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    return this.data.ghosts.find((one) => one.optimizer === kind && one.n === options.n && one.layers === options.layers && one.batch === options.batch
      && same(one.law, options.law) && Object.entries(one.options).every(([name, value]) => options[kind][name] === value));
  }

  draw() {
    const { points, options } = this;
    if (!points.length) return;
    const x = points.map((point) => point.step), span = [0, Math.max(options.steps, 1)], logX = this.$(".lab-log").checked;
    const kinds = [["SGD", "sgd", [7, 4]], ["Adam", "adam", []]];
    const lines = (name, more = {}) => kinds.map(([label, colour, dash], k) => ({ x, y: points.map((p) => p[name][k]), colour, dash, label, ...more }));
    const canvas = (name) => this.$(`canvas[data-plot=${name}]`);
    const describe = (name, text) => canvas(name).setAttribute("aria-label", text);
    const ghosts = kinds.map(([, kind]) => this.ghost(kind)), seed = options.seed === this.data.seed ? "seed" : "median";
    const shadows = ghosts.flatMap((ghost, k) => (ghost ? [
      { x: ghost.steps, y: ghost[seed].typical, colour: "ghost", width: 5, alpha: 0.45, label: k === 0 || !ghosts[0] ? `stored, ${seed === "seed" ? `seed ${options.seed}` : "median"}` : "" },
      { x: ghost.steps, y: ghost[seed].test, colour: "ghost", width: 1, alpha: 0.6 },
    ] : [])).map((line) => cut(line, options.steps));
    const tests = kinds.map(([, colour], k) => ({ x: this.tests.map((test) => test.step), y: this.tests.map((test) => test.losses[k]), colour, dots: true }));
    plot(canvas("loss"), [...shadows, ...lines("test", { width: 1, alpha: 0.7, label: "" }), ...lines("typical"), ...tests], { x: span, logX, logY: true });
    describe("loss", `Typical loss against step, SGD dashed and Adam solid; thin: one test batch; dots: others. ${this.summary()}`);
    const gap = points.map((p) => p.typical[0] / p.typical[1]);
    const stored = ghosts[0] && ghosts[1] ? [cut({ x: ghosts[0].steps, y: ghosts[0][seed].typical.map((v, i) => v / ghosts[1][seed].typical[i]), colour: "ghost", width: 5, alpha: 0.45, label: "stored" }, options.steps)] : [];
    plot(canvas("gap"), [...stored, { x, y: gap, ink: true, label: "SGD / Adam" }], { x: span, logX, logY: true, line: 1 });
    describe("gap", `SGD's typical loss over Adam's against step; now ${short(gap.at(-1))}.`);
    plot(canvas("curvature"), lines("curvature"), { x: span, logX });
    describe("curvature", `v'Hv along the last step against step; now ${this.last("curvature").map(short).join(" with SGD and ")} with Adam.`);
    const measured = points.filter((p) => p.conditions), chosen = this.$(".lab-convention").value;
    const names = chosen === "all" ? ["lower", "midpoint", "used", "blocks"] : [chosen], dashes = { lower: [], midpoint: [7, 3], used: [2, 3], blocks: [9, 3, 2, 3] };
    plot(canvas("conditions"), names.flatMap((name, i) => kinds.map(([label, colour], k) => ({
      x: measured.map((p) => p.step), y: measured.map((p) => p.conditions[k][name]), colour, dash: dashes[name], label: k === 1 ? name : "", width: 1.6,
    }))), { x: span, logX, logY: true });
    const now = measured.at(-1);
    describe("conditions", now ? `Robust condition number at step ${now.step}, SGD and Adam: ${Object.keys(dashes).map((name) => `${name} ${short(now.conditions[0][name])} and ${short(now.conditions[1][name])}`).join(", ")}.` : "Not measured yet.");
    plot(canvas("clipped"), lines("clipped"), { x: span, logX, low: 0, high: 1 });
    describe("clipped", `Share of clipped steps between two points; now ${this.last("clipped").map(short).join(" with SGD and ")} with Adam.`);
    this.drawNoise(canvas("noise"), describe);
    matrices(canvas("matrices"), kinds.map(([label], k) => ({ label, w: this.matrices[k] })), 5, 2 * options.layers - 2);
    describe("matrices", `Entries of P and Q of ${options.layers} layers, SGD above Adam; orange above zero, blue below; the last P is without effect.`);
    const ghostText = ghosts.some(Boolean) ? "Grey: the book's stored curve." : "No stored curve of the book has these options.";
    this.$(".lab-now").textContent = `step ${this.step.toLocaleString("en")} · ${this.speed ? `${Math.round(this.speed)} steps a second · ` : ""}${this.mixed ? "options changed on the way · " : ""}${ghostText}`;
  }

  drawNoise(canvas, describe) {
    if (!this.noise) {
      plot(canvas, [], { x: [0, 1], empty: "press “Measure the noise”" });
      describe("noise", "Not measured yet.");
      return;
    }
    const { found } = this.noise, all = found.flatMap(({ norms, gaussian }) => [...norms, ...gaussian]);
    const low = Math.min(...all), high = Math.max(...all), edges = Array.from({ length: 41 }, (_, i) => low * (high / low) ** (i / 40));
    const middles = edges.slice(1).map((edge, i) => Math.sqrt(edge * edges[i]));
    plot(canvas, found.flatMap(({ norms, gaussian }, k) => {
      const colour = found.length > 1 ? ["sgd", "adam"][k] : "soft", name = found.length > 1 ? ["SGD", "Adam"][k] : "at the start";
      return [
        { x: middles, y: histogram(norms, edges), colour, label: name },
        { x: middles, y: histogram(gaussian, edges), colour, dash: [2, 3], label: k ? "" : "Gaussian" },
      ];
    }), { x: [low, high], logX: true, low: 0 });
    describe("noise", `Density of the noise's length, solid, and of a Gaussian's of the same covariance, dotted. ${this.$(".lab-status").textContent}`);
  }
}

const quantile = (values, level) => { const sorted = [...values].sort((a, b) => a - b); return sorted[Math.min(sorted.length - 1, Math.floor(level * sorted.length))]; };
const cut = (line, steps) => { const count = line.x.filter((step) => step <= steps).length; return { ...line, x: line.x.slice(0, count), y: line.y.slice(0, count) }; };

document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("lab"), toy = document.getElementById("lab-toy");
  const found = document.getElementById("lab-data");
  if (root && found) window.lab = new Page(root, JSON.parse(found.textContent));
  else if (root) root.textContent = "The settings of this page are missing: execute the chapter first.";
  if (toy) window.labToy = new Toy(toy);
});
