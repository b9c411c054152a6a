// Loss and gradient: the traced program as WebAssembly (SIMD), or as JavaScript where that is missing.

// One program with its memory. `lanes` prompts lie side by side; layout says where things are, in numbers.
class Engine {
  constructor(program, layers) {
    this.program = program; // lanes, unit, layout, gradients, losses, grow
    this.lanes = program.lanes;
    this.layout = program.layout;
    this.layers = layers;
    this.size = 2 * D * D * layers;
    this.top = this.layout.prompts;
  }

  // Room for prompts; returns where it begins.
  allocate(count) {
    const start = this.top * this.lanes;
    this.top += Math.ceil(count / this.lanes) * NUMBERS;
    this.program.grow(this.top * this.lanes);
    return { start, count };
  }

  draw(batch, law, n, source, first = 0) { draw(law, n, source, batch.count, this.program.memory(), batch.start, this.lanes, first); }

  _put(w, batch, sums) {
    const { lanes, layout } = this, memory = this.program.memory();
    if (batch.count % lanes) throw new Error(`a batch of ${batch.count} prompts is no multiple of ${lanes}`);
    for (let i = 0; i < this.size; i++) memory.fill(w[i], (layout.parameters + i) * lanes, (layout.parameters + i + 1) * lanes);
    memory.fill(2 / batch.count, layout.scale * lanes, (layout.scale + 1) * lanes);
    memory.fill(0, layout.sums * lanes, (layout.sums + sums) * lanes);
  }

  _sum(index) {
    const start = (this.layout.sums + index) * this.lanes, memory = this.program.memory();
    let total = 0;
    for (let lane = 0; lane < this.lanes; lane++) total += memory[start + lane];
    return total;
  }

  // Mean squared error of a batch; its gradient goes to `out`.
  gradient(w, batch, out) {
    this._put(w, batch, this.size + 1);
    this.program.gradients[this.layers](batch.start * this.program.unit, batch.count / this.lanes);
    for (let i = 0; i < this.size; i++) out[i] = this._sum(i);
    return this._sum(this.size) / batch.count;
  }

  loss(w, batch) {
    this._put(w, batch, 1);
    this.program.losses[this.layers](batch.start * this.program.unit, batch.count / this.lanes);
    return this._sum(0) / batch.count;
  }
}

// The module of `lanes` prompts a register.
async function instantiate(bytes, lanes, layout) {
  const { instance } = await WebAssembly.instantiate(bytes, {});
  const exported = instance.exports.memory, Kind = lanes === 4 ? Float32Array : Float64Array;
  let view = new Kind(exported.buffer);
  const named = (what) => Object.fromEntries(
    Object.entries(instance.exports).filter(([name]) => name.startsWith(what)).map(([name, f]) => [name.split(" ")[1], f]));
  return {
    lanes, layout, unit: Kind.BYTES_PER_ELEMENT, gradients: named("gradient "), losses: named("loss "),
    memory: () => view,
    grow(count) {
      const missing = count * Kind.BYTES_PER_ELEMENT - exported.buffer.byteLength;
      if (missing > 0) exported.grow(Math.ceil(missing / 65536));
      view = new Kind(exported.buffer);
    },
  };
}

// The same in plain JavaScript, a prompt at a time in double precision.
function plain(layout) {
  let view = new Float64Array(0), functions = null;
  return {
    lanes: 1, layout, unit: 1,
    memory: () => view,
    get gradients() { return functions.gradients; },
    get losses() { return functions.losses; },
    grow(count) {
      if (count <= view.length) return;
      const old = view;
      view = new Float64Array(Math.max(count, 2 * old.length));
      view.set(old);
      functions = program(view);
    },
  };
}
