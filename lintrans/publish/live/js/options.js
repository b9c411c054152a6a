// Options of an experiment: from a preset, from the address, from the controls.
const NUMBERS_OF = {
  n: [1, 200], layers: [1, 8], batch: [20, 1000], steps: [1, 10000], seed: [0, 4294967295],
  "sgd.lr": [1e-4, 1000], "sgd.momentum": [0, 0.9999], "sgd.dampening": [0, 0.9999], "sgd.clip": [0, 1e9],
  "adam.lr": [1e-4, 1000], "adam.beta1": [0, 0.99999], "adam.beta2": [0, 0.99999], "adam.clip": [0, 1e9],
};
const LAYERS = [1, 2, 3, 4, 6, 8], WHOLE = ["n", "layers", "batch", "steps", "seed"];

const at = (options, name) => name.split(".").reduce((part, key) => part[key], options);
function put(options, name, value) {
  const keys = name.split("."), last = keys.pop();
  keys.reduce((part, key) => part[key], options)[last] = value;
}

// A number that an option may have: within its range, whole where it must be; else what it was.
function allowed(name, text, before) {
  const [low, high] = NUMBERS_OF[name], value = Number(text);
  if (text === "" || !Number.isFinite(value)) return before;
  let fits = Math.min(Math.max(value, low), high);
  if (WHOLE.includes(name)) fits = Math.round(fits);
  if (name === "layers" && !LAYERS.includes(fits)) return before;
  if (name === "batch") fits = 20 * Math.max(1, Math.round(fits / 20));
  return fits;
}

// "#preset=c1-tuned&sgd.lr=0.1" as [preset's name, options]; unknown names are returned as a complaint.
function fromAddress(hash, data) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const name = given.get("preset") ?? data.first;
  const preset = data.presets[name];
  const wrong = [...given.keys()].filter((key) => key !== "preset" && key !== "kind" && key !== "k" && !(key in NUMBERS_OF));
  const options = structuredClone((preset ?? data.presets[data.first]).options);
  for (const key of Object.keys(NUMBERS_OF)) if (given.has(key)) put(options, key, allowed(key, given.get(key), at(options, key)));
  if (given.has("kind") || given.has("k")) options.law = lawOf(given.get("kind") ?? options.law.kind, Number(given.get("k") ?? options.law.k ?? 0.1));
  let complaint = preset ? "" : `There is no preset "${name}": there are ${Object.keys(data.presets).join(", ")}. `;
  if (wrong.length) complaint += `Not known in the address: ${wrong.join(", ")}.`;
  return { name: preset ? name : data.first, options, complaint };
}

function toAddress(name, options, data) {
  const given = new URLSearchParams({ preset: name }), preset = data.presets[name].options;
  for (const key of Object.keys(NUMBERS_OF)) if (at(options, key) !== at(preset, key)) given.set(key, at(options, key));
  if (JSON.stringify(options.law) !== JSON.stringify(preset.law)) {
    given.set("kind", options.law.kind);
    if (options.law.kind === "gamma") given.set("k", options.law.k);
  }
  return `#${given}`;
}

const lawOf = (kind, k) => (kind === "gamma" ? { kind, k, scale: 1 / k } : { kind });
