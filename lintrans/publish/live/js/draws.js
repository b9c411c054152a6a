// Prompts as second moments, as LinearRegression.sample_moments draws them, d = 5.
// A law is {kind: "gaussian" | "sphere" | "gamma", k, scale}; a source is {seed, step, stream}.
const NUMBERS = 26; // of a prompt: upper triangle of S, S_xy, query, target
const room = new Float64Array(4096), token = new Float64Array(D), query = new Float64Array(D), teacher = new Float64Array(8);
const S = new Float64Array(D * D), R = new Float64Array(D * D);

function secondMoment(law) { return law.kind === "gaussian" ? D : law.kind === "sphere" ? 1 : law.k * law.scale; }

// Context as the triangular factor of its moments (Bartlett 1933); then query and teacher.
function factor(source, prompt, n) {
  const above = 10;
  let odd = 0;
  for (let k = 0; k < D; k++) odd += (n - k) % 2;
  normals(room, above + 2 * D + odd, source, prompt, 0);
  let call = 0, spare = above + 2 * D, place = 0;
  for (let k = 0; k < D; k++) {
    const pairs = (n - k) >> 1;
    let logs = 0, product = 1;
    for (let pair = 0; pair < pairs; pair++) {
      if (pair % 4 === 0) philox(prompt, call++, source.stream, 1, source.seed, source.step);
      product *= u[pair % 4];
      if (product < 1e-250) { logs += Math.log(product); product = 1; }
    }
    let square = -2 * (logs + Math.log(product));
    if ((n - k) % 2) square += room[spare] * room[spare++];
    R[k * D + k] = Math.sqrt(square);
    for (let j = k + 1; j < D; j++) R[k * D + j] = room[place++];
  }
  for (let i = 0; i < D; i++) {
    query[i] = room[above + i];
    teacher[i] = room[above + D + i];
    for (let j = i; j < D; j++) {
      let total = 0;
      for (let k = 0; k <= i; k++) total += R[k * D + i] * R[k * D + j];
      S[i * D + j] = S[j * D + i] = total / n;
    }
  }
}

// A uniform direction in R^5 from the words of one call.
function direction(out, source, prompt, word) {
  philox(prompt, word, source.stream, 0, source.seed, source.step);
  const rest = 2 * Math.sqrt(u[0] * (1 - u[0])), logSquare = (2 / 3) * Math.log(u[2]);
  const inner = Math.exp(0.5 * logSquare), outer = Math.sqrt(-Math.expm1(logSquare));
  out[0] = inner * (2 * u[0] - 1);
  out[1] = inner * rest * Math.sin(2 * Math.PI * u[1]);
  out[2] = inner * rest * Math.cos(2 * Math.PI * u[1]);
  out[3] = outer * Math.sin(2 * Math.PI * u[3]);
  out[4] = outer * Math.cos(2 * Math.PI * u[3]);
}

// The logarithm of a Gamma(shape, 1) variate, by the samplers of lintrans/random.py.
function logGamma(shape, source, prompt, index) {
  const small = shape <= 0.2, r = 1 / (1 + shape / (Math.E * (1 - shape)));
  for (let attempt = 1; ; attempt++) {
    philox(prompt, small ? index >> 1 : index, source.stream, attempt, source.seed, source.step);
    if (small) { // Liu, Martin and Syring (2017)
      const first = index % 2 ? u[2] : u[0], second = index % 2 ? u[3] : u[1];
      const logX = first <= r ? Math.log(first / r) / shape : -Math.log((first - r) / (1 - r)) / (1 - shape);
      if (Math.log(second) < (first <= r ? 0 : 1 + logX) - Math.exp(logX)) return logX;
    } else { // Marsaglia and Tsang (2000)
      const d = (shape < 1 ? shape + 1 : shape) - 1 / 3;
      const x = Math.sqrt(-2 * Math.log(u[0])) * Math.sin(2 * Math.PI * u[1]), root = 1 + x / Math.sqrt(9 * d);
      const logV = 3 * Math.log(Math.max(root, 1e-300));
      if (root > 0 && Math.log(u[2]) < 0.5 * x * x + d - d * Math.exp(logV) + d * logV)
        return Math.log(d) + logV + (shape < 1 ? Math.log(u[3]) / shape : 0);
    }
  }
}

// Context token by token; then query and teacher.
function tokens(law, source, prompt, n) {
  if (law.kind === "gaussian") normals(room, (n + 1) * D, source, prompt, 0);
  S.fill(0);
  for (let index = 0; index <= n; index++) {
    if (law.kind === "gaussian") for (let i = 0; i < D; i++) token[i] = room[index * D + i];
    else {
      direction(token, source, prompt, index);
      if (law.kind === "gamma") {
        const length = Math.exp(0.5 * (Math.log(law.scale) + logGamma(law.k, source, prompt, index)));
        for (let i = 0; i < D; i++) token[i] *= length;
      }
    }
    if (index === n) query.set(token);
    else for (let i = 0; i < D; i++) for (let j = i; j < D; j++) S[i * D + j] += token[i] * token[j];
  }
  for (let i = 0; i < D; i++) for (let j = i; j < D; j++) S[i * D + j] = S[j * D + i] = S[i * D + j] / n;
  normals(teacher, D, source, prompt, FRAME_TEACHER);
}

// Prompts first, ..., first + count - 1 into memory from `start` on, as groups of `lanes`.
function draw(law, n, source, count, memory, start, lanes, first = 0) {
  for (let index = 0; index < count; index++) {
    if (law.kind === "gaussian" && n >= 2 * D) factor(source, first + index, n);
    else tokens(law, source, first + index, n);
    let place = start + Math.floor(index / lanes) * NUMBERS * lanes + (index % lanes), target = 0;
    for (let i = 0; i < D; i++) for (let j = i; j < D; j++, place += lanes) memory[place] = S[i * D + j];
    for (let i = 0; i < D; i++, place += lanes) {
      let total = 0;
      for (let j = 0; j < D; j++) total += S[i * D + j] * teacher[j];
      memory[place] = total;
      target += query[i] * teacher[i];
    }
    for (let i = 0; i < D; i++, place += lanes) memory[place] = query[i];
    memory[place] = target;
  }
}
