// L = 2, d = 1, Gaussian, n = 20: p of the first layer, q of both. The population loss is a polynomial in these three.
// With S the mean square of the context, error / (w x) = (1 + q1 S) (1 + q2 S (1 + p q1 S)^2), and E w^2 x^2 = 1.
const CONTEXT = 20;
const MOMENTS = Array.from({ length: 9 }, (_, k) => { let m = 1; for (let j = 0; j < k; j++) m *= (CONTEXT + 2 * j) / CONTEXT; return m; });

const times = (a, b) => { const c = new Array(a.length + b.length - 1).fill(0); a.forEach((x, i) => b.forEach((y, j) => { c[i + j] += x * y; })); return c; };
const plus = (a, b) => Array.from({ length: Math.max(a.length, b.length) }, (_, i) => (a[i] ?? 0) + (b[i] ?? 0));
const mean = (a) => a.reduce((total, x, k) => total + x * MOMENTS[k], 0);

// [loss, derivatives in p, q1, q2]; polynomials in S, lowest power first.
function toyLoss(p, q1, q2) {
  const A = [1, q1], B = [1, p * q1], C = plus([1], times([0, q2], times(B, B))), r = times(A, C);
  const inner = times([0, 2 * q2], times(A, B)); // of B within r
  const slopes = [times(inner, [0, q1]), plus(times([0, 1], C), times(inner, [0, p])), times(A, times([0, 1], times(B, B)))];
  return [mean(times(r, r)), ...slopes.map((slope) => 2 * mean(times(r, slope)))];
}

class Toy {
  constructor(root) {
    root.innerHTML = PARTS.toy;
    this.$ = (selector) => root.querySelector(selector);
    Object.assign(this, { root, canvas: this.$("canvas"), angle: -0.6, tilt: 0.95, seed: 0, running: false });
    for (const field of root.querySelectorAll("input")) field.oninput = () => { this.outputs(); this.draw(); };
    this.$(".toy-run").onclick = () => { if (this.step >= 3000) this.restart(); this.running = !this.running; this.pressed(); this.frame(); };
    this.$(".toy-restart").onclick = () => { this.seed++; this.restart(); };
    const turn = (by) => { this.angle += by; this.draw(); };
    this.$(".toy-left").onclick = () => turn(-0.2);
    this.$(".toy-right").onclick = () => turn(0.2);
    this.canvas.onkeydown = (event) => {
      const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.tilt = Math.min(1.5, Math.max(0.3, this.tilt + by[1]));
      turn(by[0]);
    };
    this.canvas.onpointerdown = (event) => { this.canvas.setPointerCapture(event.pointerId); this.grip = [event.clientX, event.clientY]; };
    this.canvas.onpointermove = (event) => {
      if (!this.grip) return;
      this.tilt = Math.min(1.5, Math.max(0.3, this.tilt + (event.clientY - this.grip[1]) / 200));
      turn((event.clientX - this.grip[0]) / 120);
      this.grip = [event.clientX, event.clientY];
    };
    this.canvas.onpointerup = this.canvas.onpointercancel = () => { this.grip = null; };
    new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; this.frame(); }).observe(this.canvas);
    new MutationObserver(() => this.draw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.outputs();
    this.restart();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  loss(p, q1, q2) { return toyLoss(p, q1, q2); }

  outputs() {
    for (const name of ["sgd", "adam"]) this.$(`.toy-${name} + output`).textContent = short(10 ** this.$(`.toy-${name}`).value);
    this.$(".toy-p + output").textContent = short(Number(this.$(".toy-p").value));
  }

  pressed() { this.$(".toy-run").textContent = this.running ? "Pause" : "Run"; }

  restart() {
    const w = initial(this.seed, 4); // P1, Q1, P2, Q2
    this.runs = ["sgd", "adam"].map((kind) => new Run(kind, w, false));
    this.paths = [[], []];
    this.step = 0;
    this.advance(0);
    this.draw();
  }

  advance(steps) {
    const options = { momentum: 0.9, dampening: 0, beta1: 0.9, beta2: 0.9, clip: 1 };
    for (let k = 0; k < steps; k++) {
      for (const run of this.runs) {
        const [, p, q1, q2] = toyLoss(run.w[0], run.w[1], run.w[3]);
        run.gradient.set([p, q1, 0, q2]);
        run.update({ ...options, lr: 10 ** this.$(`.toy-${run.kind}`).value });
      }
      this.step++;
    }
    this.runs.forEach((run, k) => this.paths[k].push([run.w[0], run.w[1], run.w[3]]));
  }

  frame() {
    if (!this.running || document.hidden || !this.seen || this.ticking) return;
    this.ticking = true;
    requestAnimationFrame(() => {
      this.ticking = false;
      if (!this.running) return;
      this.advance(matchMedia("(prefers-reduced-motion: reduce)").matches ? 3000 : 5);
      if (this.step >= 3000) { this.running = false; this.pressed(); }
      this.draw();
      this.frame();
    });
  }

  draw() {
    const { context, width, height, colour, ink } = surface(this.canvas), p = Number(this.$(".toy-p").value);
    const low = -2, high = 0.4, cells = 34, floor = -1.6, ceiling = 0.8;
    const z = (p0, q1, q2) => Math.min(ceiling, Math.max(floor, Math.log10(toyLoss(p0, q1, q2)[0])));
    const cos = Math.cos(this.angle), sin = Math.sin(this.angle), size = Math.min(width, 1.5 * height) * 0.4;
    const project = (q1, q2, h) => {
      const x = (2 * (q1 - low)) / (high - low) - 1, y = (2 * (q2 - low)) / (high - low) - 1, v = (2 * (h - floor)) / (ceiling - floor) - 1;
      const across = x * cos - y * sin, along = x * sin + y * cos;
      return [width / 2 + size * across, height * 0.56 + size * (0.5 * along * Math.sin(this.tilt) - 0.42 * v * Math.cos(this.tilt * 0.8)), along];
    };
    const q = (i) => low + ((high - low) * i) / cells, grid = [];
    for (let i = 0; i <= cells; i++) grid.push(Array.from({ length: cells + 1 }, (_, j) => z(p, q(i), q(j))));
    const faces = [];
    for (let i = 0; i < cells; i++) for (let j = 0; j < cells; j++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]].map(([a, b]) => project(q(a), q(b), grid[a][b]));
      faces.push({ corners, depth: corners.reduce((total, corner) => total + corner[2], 0), h: grid[i][j] });
    }
    const [x0, y0] = project(low, low, floor), ends = [[high, low, "q₁"], [low, high, "q₂"]];
    context.strokeStyle = ink;
    for (const [q1, q2] of ends) {
      const [x, y] = project(q1, q2, floor);
      context.beginPath(); context.moveTo(x0, y0); context.lineTo(x, y); context.stroke();
    }
    faces.sort((a, b) => a.depth - b.depth);
    for (const { corners, h } of faces) {
      context.beginPath();
      corners.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.fillStyle = `hsl(${210 + 30 * ((h - floor) / (ceiling - floor))} 25% ${30 + 55 * ((h - floor) / (ceiling - floor))}%)`;
      context.fill();
      context.strokeStyle = colour("line");
      context.globalAlpha = 0.35;
      context.stroke();
      context.globalAlpha = 1;
    }
    context.fillStyle = ink;
    const write = (text, x, y) => context.fillText(text, Math.min(width - 54, Math.max(4, x - 14)), Math.min(height - 6, y + 14));
    write(`${low}, ${low}`, x0, y0);
    for (const [q1, q2, text] of ends) write(`${text} = ${high}`, ...project(q1, q2, floor));
    this.paths.forEach((path, k) => {
      context.strokeStyle = context.fillStyle = colour(k ? "adam" : "sgd");
      context.lineWidth = 3;
      context.setLineDash(k ? [] : [7, 4]);
      context.beginPath();
      path.forEach(([p0, q1, q2], i) => { const [x, y] = project(q1, q2, z(p0, q1, q2)); if (i) context.lineTo(x, y); else context.moveTo(x, y); });
      context.stroke();
      context.setLineDash([]);
      const [p0, q1, q2] = path.at(-1), [x, y] = project(q1, q2, z(p0, q1, q2));
      context.beginPath(); context.arc(x, y, 5, 0, 7); context.fill();
      context.lineWidth = 1;
    });
    const text = this.runs.map((run, k) => `${["SGD", "Adam"][k]}: loss ${short(toyLoss(run.w[0], run.w[1], run.w[3])[0])} at p ${run.w[0].toFixed(2)}, q₁ ${run.w[1].toFixed(2)}, q₂ ${run.w[3].toFixed(2)}`).join("; ");
    this.$(".lab-now").textContent = `step ${this.step}`;
    if (!this.running) this.$(".lab-status").textContent = `${text}.`;
    this.canvas.setAttribute("aria-label", `Logarithm of the loss as a surface over q1 and q2 at p = ${p}, with the paths of SGD, dashed, and Adam; arrow keys turn it. Step ${this.step}. ${text}.`);
  }
}
