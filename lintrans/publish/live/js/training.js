// Two runs, one of SGD and one of Adam, from the same parameters and on the same prompts.

// Initial entries N(0, 0.05^2) of stream INIT.
function initial(seed, size) {
  const out = new Float64Array(4 * Math.ceil(size / 4));
  normals(out, size, { seed, step: 0, stream: STREAM.init }, 0, 0);
  return out.subarray(0, size).map((z) => 0.05 * z);
}

class Run {
  constructor(kind, w, single) {
    const Kind = single ? Float32Array : Float64Array; // as lintrans: float32 to four layers
    Object.assign(this, { kind, w: Kind.from(w), first: new Kind(w.length), second: new Kind(w.length) });
    Object.assign(this, { before: Kind.from(w), gradient: new Float64Array(w.length), count: 0, clipped: 0, skipped: 0 });
  }

  // One step along the gradient, which is clipped first (torch's rule); a gradient that is not finite is skipped.
  update(options) {
    const { w, first, second, gradient } = this, { lr } = options;
    let square = 0;
    for (const g of gradient) square += g * g;
    const norm = Math.sqrt(square), factor = options.clip > 0 ? Math.min(1, options.clip / (norm + 1e-6)) : 1;
    this.before.set(w);
    if (!Number.isFinite(norm)) { this.skipped++; return; }
    if (factor < 1) this.clipped++;
    this.count++;
    if (this.kind === "sgd") {
      const keep = this.count === 1 ? 0 : options.momentum, take = this.count === 1 ? 1 : 1 - options.dampening;
      for (let i = 0; i < w.length; i++) {
        first[i] = keep * first[i] + take * factor * gradient[i];
        w[i] -= lr * first[i];
      }
      return;
    }
    const { beta1, beta2 } = options, one = 1 - beta1 ** this.count, two = Math.sqrt(1 - beta2 ** this.count);
    for (let i = 0; i < w.length; i++) {
      const g = factor * gradient[i];
      first[i] += (1 - beta1) * (g - first[i]);
      second[i] = beta2 * second[i] + (1 - beta2) * g * g;
      if (first[i] !== 0) w[i] -= (lr * (first[i] / one)) / (Math.sqrt(second[i]) / two + 1e-8);
    }
  }
}
