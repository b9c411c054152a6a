// The worker: trains in slices, measures between them, and reports what is new.
const SLICE = 12, REPORT = 16; // milliseconds
const BLOCK = 1000, CURVED = 400; // prompts of a block, and of what curvature is measured on
let blocks = 0; // behind a typical loss, as many as behind the stored curves
const programs = {}; // by kind of number: float32, float64
const tick = new MessageChannel();
let lab = null, running = false, ticking = false;

class Lab {
  constructor(options) {
    this.options = options;
    this.single = options.layers <= 4; // beyond, predictions need double precision, as in lintrans
    this.engine = new Engine(programs[this.single ? "float32" : "float64"], options.layers);
    this.exact = this.single ? new Engine(programs.float64, options.layers) : this.engine;
    const w = initial(options.seed, this.engine.size);
    this.runs = ["sgd", "adam"].map((kind) => new Run(kind, w, this.single));
    this.batch = this.engine.allocate(options.batch);
    this.test = this.engine.allocate(BLOCK);
    this.blocks = Array.from({ length: blocks }, () => this.engine.allocate(BLOCK));
    this.curved = this.exact.allocate(CURVED);
    const { law, n } = options;
    this.blocks.forEach((block, step) => this.engine.draw(block, law, n, { seed: 0, step, stream: STREAM.evaluation }));
    this.exact.draw(this.curved, law, n, { seed: 0, step: 0, stream: STREAM.test });
    this.testBatch(0);
    Object.assign(this, { step: 0, points: [], clipped: [0, 0], last: 0, spent: 0, made: 0 });
    this.measure();
  }

  // Another fixed test batch: number 0 is the book's.
  testBatch(number) {
    this.engine.draw(this.test, this.options.law, this.options.n, { seed: 0, step: number, stream: STREAM.test });
    this.number = number;
    return this.runs.map((run) => this.engine.loss(run.w, this.test));
  }

  advance() {
    const { engine, options } = this;
    engine.draw(this.batch, options.law, options.n, { seed: options.seed, step: this.step, stream: STREAM.training });
    for (const run of this.runs) {
      engine.gradient(run.w, this.batch, run.gradient);
      run.update(options[run.kind]);
    }
    this.step++;
    if (this.step % this.every() === 0 || this.step === options.steps) this.measure();
  }

  every() { return this.step <= 200 ? 10 : 50; }

  measure() {
    const { runs, engine, exact, step } = this;
    const point = {
      step,
      test: runs.map((run) => engine.loss(run.w, this.test)),
      typical: runs.map((run) => median(this.blocks.map((block) => engine.loss(run.w, block)))),
      curvature: runs.map((run) => directional(exact, run, this.curved)),
      clipped: runs.map((run, k) => (run.clipped - this.clipped[k]) / Math.max(1, step - this.last)),
    };
    this.clipped = runs.map((run) => run.clipped);
    this.last = step;
    if (step % 250 === 0 || step === 50 || step === 100) point.conditions = runs.map((run) => conditions(diagonal(exact, run.w, this.curved)));
    this.points.push(point);
  }

  report() {
    const points = this.points;
    this.points = [];
    return {
      what: "news", step: this.step, points, number: this.number, skipped: this.runs.map((run) => run.skipped),
      matrices: this.runs.map((run) => Array.from(run.w)), speed: this.spent ? (1000 * this.made) / this.spent : 0,
    };
  }
}

// A slice of training; the next one waits until messages have been read.
function slice() {
  ticking = false;
  if (!running || !lab) return;
  const start = performance.now(), first = lab.step;
  while (lab.step < lab.options.steps && performance.now() - start < SLICE) lab.advance();
  lab.spent += performance.now() - start;
  lab.made += lab.step - first;
  const done = lab.step >= lab.options.steps;
  if (done || start - (lab.reported ?? 0) > REPORT) {
    lab.reported = start;
    postMessage({ ...lab.report(), done });
  }
  if (done) running = false;
  else go();
}

function go() {
  if (!ticking) { ticking = true; tick.port2.postMessage(0); }
}
tick.port1.onmessage = slice;

const answers = {
  async load({ modules, layouts, blocks: count }) {
    blocks = count;
    const simd = Boolean(modules) && WebAssembly.validate(modules.float32);
    for (const [name, lanes] of [["float32", 4], ["float64", 2]])
      programs[name] = simd ? await instantiate(modules[name], lanes, layouts[name]) : plain(layouts.plain);
    postMessage({ what: "ready", simd });
  },
  start({ options, run }) {
    lab = new Lab(options);
    running = run;
    postMessage({ ...lab.report(), fresh: true });
    if (run) go();
  },
  change({ options }) { if (lab) lab.options = options; },
  run({ run }) { running = run; if (run) go(); },
  test({ number }) {
    if (!lab) return;
    const losses = lab.testBatch(number);
    postMessage({ what: "test", number, losses });
  },
  noise({ batch, samples, reference }) {
    if (!lab) return;
    const { law, n, seed } = lab.options, top = lab.engine.top;
    const found = lab.runs.slice(0, lab.step ? 2 : 1).map((run) => {
      const one = noise(lab.engine, run.w, law, n, batch, samples, reference, seed);
      lab.engine.top = top;
      return one;
    });
    postMessage({ what: "noise", step: lab.step, found });
  },
  // Loss and gradient of given parameters on the prompts of a given source, for tests.
  probe({ options, source, count, w, kind }) {
    const engine = new Engine(programs[kind], options.layers), batch = engine.allocate(count), out = new Float64Array(engine.size);
    engine.draw(batch, options.law, options.n, source);
    const loss = engine.gradient(w, batch, out);
    postMessage({ what: "probe", loss, gradient: Array.from(out) });
  },
};
onmessage = ({ data }) => answers[data.what](data);
