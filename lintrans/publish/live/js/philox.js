// Philox4x32-7, as in lintrans/random.py: numbers are a function of (seed, step) and (prompt, word, stream, attempt).
const STREAM = { training: 0, test: 1, init: 2, evaluation: 3, noise: 4, reference: 5, null: 8 };
const FRAME_TEACHER = 4294967294; // TEACHER_ATTEMPT
const u = new Float64Array(4); // the four uniforms of a call

function philox(c0, c1, c2, c3, k0, k1) {
  for (let round = 0; round < 7; round++) {
    // the high word: the product in double precision is within 2^11, so that what the low word leaves rounds to it
    const lo0 = Math.imul(c0, 0xd2511f53) >>> 0, lo1 = Math.imul(c2, 0xcd9e8d57) >>> 0;
    const hi0 = ((c0 * 0xd2511f53 - lo0) * 2.3283064365386963e-10 + 0.5) >>> 0;
    const hi1 = ((c2 * 0xcd9e8d57 - lo1) * 2.3283064365386963e-10 + 0.5) >>> 0;
    c0 = (hi1 ^ c1 ^ k0) >>> 0;
    c1 = lo1;
    c2 = (hi0 ^ c3 ^ k1) >>> 0;
    c3 = lo0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  u[0] = (c0 + 0.5) * 2.3283064365386963e-10;
  u[1] = (c1 + 0.5) * 2.3283064365386963e-10;
  u[2] = (c2 + 0.5) * 2.3283064365386963e-10;
  u[3] = (c3 + 0.5) * 2.3283064365386963e-10;
}

// Standard normals, in fours, by Box and Muller: `out` has room for a multiple of four.
function normals(out, count, source, prompt, attempt) {
  for (let call = 0; 4 * call < count; call++) {
    philox(prompt, call, source.stream, attempt, source.seed, source.step);
    for (let pair = 0; pair < 4; pair += 2) {
      const radius = Math.sqrt(-2 * Math.log(u[pair])), angle = 2 * Math.PI * u[pair + 1];
      out[4 * call + pair] = radius * Math.sin(angle);
      out[4 * call + pair + 1] = radius * Math.cos(angle);
    }
  }
}
