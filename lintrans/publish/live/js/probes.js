// What is measured at a run's parameters: losses, curvature, gradient noise.

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
};

// v'Hv along a run's last step, at the parameters before it, by a central difference of gradients in double precision.
function directional(engine, run, batch, step = 1e-4) {
  const size = run.w.length, v = new Float64Array(size), up = new Float64Array(size), down = new Float64Array(size);
  let square = 0;
  for (let i = 0; i < size; i++) { v[i] = run.w[i] - run.before[i]; square += v[i] * v[i]; }
  if (!(square > 0)) return NaN;
  const at = (sign) => Float64Array.from(run.before, (w, i) => w + (sign * step * v[i]) / Math.sqrt(square));
  engine.gradient(at(1), batch, up);
  engine.gradient(at(-1), batch, down);
  let total = 0;
  for (let i = 0; i < size; i++) total += v[i] * (up[i] - down[i]);
  return total / (2 * step * Math.sqrt(square));
}

// The Hessian's diagonal by second differences of the loss in double precision; the last P is without effect.
function diagonal(engine, parameters, batch, step = 1e-3) {
  const w = Float64Array.from(parameters), out = new Float64Array(w.length), middle = engine.loss(w, batch);
  for (let i = 0; i < w.length; i++) {
    if (i >= w.length - 2 * D * D && i < w.length - D * D) continue;
    const kept = w[i];
    w[i] = kept + step;
    const up = engine.loss(w, batch);
    w[i] = kept - step;
    out[i] = (up - 2 * middle + engine.loss(w, batch)) / (step * step);
    w[i] = kept;
  }
  return out;
}

// R_med under the four conventions of lintrans.diagnostics.curvature.conditions.
function conditions(diagonalEntries) {
  const all = diagonalEntries.map(Math.abs), block = D * D, last = all.length - 2 * block;
  const used = [...all.subarray(0, last), ...all.subarray(last + block)];
  const condition = (entries) => Math.max(...entries) / median(entries);
  const lower = [...all].sort((a, b) => a - b)[(all.length - 1) >> 1];
  const logs = [];
  for (let start = 0; start < used.length; start += block) logs.push(Math.log(condition(used.slice(start, start + block))));
  return {
    lower: Math.max(...all) / lower, midpoint: condition([...all]), used: condition(used),
    blocks: Math.exp(logs.reduce((a, b) => a + b) / logs.length),
  };
}

// Norms of the noise of minibatches beside those of N(0, C) with the covariance C of the same noise.
// A draw of the latter is a combination of the noise vectors with standard normal weights, over sqrt(their number).
function noise(engine, w, law, n, batch, samples, reference, seed) {
  const size = w.length, mean = new Float64Array(size), own = new Float64Array(size);
  const big = engine.allocate(1000);
  for (let step = 0; step < reference; step++) {
    engine.draw(big, law, n, { seed, step, stream: STREAM.reference });
    engine.gradient(w, big, own);
    for (let i = 0; i < size; i++) mean[i] += own[i] / reference;
  }
  const room = engine.allocate(batch), rows = [];
  for (let step = 0; step < samples; step++) {
    engine.draw(room, law, n, { seed, step, stream: STREAM.noise });
    engine.gradient(w, room, own);
    rows.push(own.map((g, i) => g - mean[i]));
  }
  const length = (x) => Math.sqrt(x.reduce((total, v) => total + v * v, 0));
  const z = new Float64Array(4 * Math.ceil(samples / 4)), gaussian = [];
  for (let index = 0; index < 2 * samples; index++) {
    normals(z, samples, { seed, step: 0, stream: STREAM.null }, index, 0);
    own.fill(0);
    for (let k = 0; k < samples; k++) { const weight = z[k], row = rows[k]; for (let i = 0; i < size; i++) own[i] += weight * row[i]; }
    gaussian.push(length(own) / Math.sqrt(samples));
  }
  return { norms: rows.map(length), gaussian, gradient: length(mean) };
}
