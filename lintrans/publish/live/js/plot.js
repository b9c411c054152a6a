// Line plots on a canvas, with axes that have numbers.

// The canvas's context in CSS pixels, cleared, with the page's colours.
function surface(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  const colour = (name) => style.getPropertyValue(`--lab-${name}`).trim();
  return { context, width, height, colour, ink: style.color };
}

const short = (v) => {
  if (v === 0) return "0";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "–";
  const size = Math.abs(v);
  if (size >= 1e5 || size < 1e-3) return v.toExponential(size < 1e-3 || size >= 1e5 ? 1 : 0).replace("e+", "e").replace(".0e", "e");
  return String(Number(v.toPrecision(3)));
};

// Positions of ticks between two numbers, at least two of them.
function ticks(low, high, log) {
  if (log) {
    const found = [], decades = Math.log10(high / low), every = Math.max(1, Math.ceil(decades / 6));
    const digits = decades > 2 ? [1] : decades > 0.8 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high) + 1; e++) {
      if (decades > 2 && e % every) continue;
      for (const digit of digits) { const v = digit * 10 ** e; if (v >= low * 0.999 && v <= high * 1.001) found.push(v); }
    }
    if (found.length > 1) return found;
    return [low, Math.sqrt(low * high), high];
  }
  const raw = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(raw)), step = unit * [1, 2, 5, 10].find((m) => m * unit >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-12 * step ? 0 : v);
  return found;
}

// series: {x, y, colour, dash, width, alpha, label, dots}; options: {logX, logY, low, high, x: [from, to], line, empty}.
function plot(canvas, series, options) {
  const { context, width, height, colour, ink } = surface(canvas);
  const left = 46, right = 10, top = 20, bottom = 24;
  const fits = (v) => Number.isFinite(v) && (!options.logY || v > 0);
  const values = series.flatMap((one) => one.y.filter(fits));
  if (!values.length) {
    context.fillStyle = colour("soft");
    context.fillText(options.empty ?? "nothing measured yet", left, height / 2);
    return;
  }
  let low = options.low ?? Math.min(...values, options.line ?? Infinity), high = options.high ?? Math.max(...values, options.line ?? -Infinity);
  if (options.logY) {
    high = Math.min(high, low * 1e12);
    const middle = Math.sqrt(low * high);
    if (high / low < 1.5) { low = middle / 1.3; high = middle * 1.3; } else { low /= 1.1; high *= 1.1; }
  } else if (options.low === undefined || high === low) {
    const pad = 0.06 * (high - low) || 0.1 * Math.abs(high) || 1;
    low -= pad;
    high += pad;
  }
  let [from, to] = options.x;
  if (options.logX && from <= 0) from = 1;
  const scale = (v, a, b, log) => (log ? Math.log(v / a) / Math.log(b / a) : (v - a) / (b - a));
  const X = (v) => left + (width - left - right) * scale(options.logX ? Math.max(v, from) : v, from, to, options.logX);
  const Y = (v) => height - bottom - (height - top - bottom) * scale(Math.min(Math.max(v, low), high), low, high, options.logY);
  context.lineWidth = 1;
  context.strokeStyle = colour("line");
  context.fillStyle = colour("soft");
  context.textAlign = "right";
  for (const v of ticks(low, high, options.logY)) {
    context.beginPath(); context.moveTo(left, Y(v)); context.lineTo(width - right, Y(v)); context.stroke();
    context.fillText(short(v), left - 5, Y(v) + 4);
  }
  context.textAlign = "center";
  for (const v of ticks(from, to, options.logX)) context.fillText(short(v), Math.min(Math.max(X(v), left), width - right - 12), height - 8);
  if (options.line !== undefined) {
    context.strokeStyle = ink;
    context.globalAlpha = 0.5;
    context.beginPath(); context.moveTo(left, Y(options.line)); context.lineTo(width - right, Y(options.line)); context.stroke();
    context.globalAlpha = 1;
  }
  let key = left;
  context.textAlign = "left";
  for (const one of series) {
    context.strokeStyle = context.fillStyle = one.ink ? ink : colour(one.colour);
    context.lineWidth = one.width ?? 2;
    context.globalAlpha = one.alpha ?? 1;
    context.setLineDash(one.dash ?? []);
    context.beginPath();
    let pen = false;
    for (let i = 0; i < one.x.length; i++) {
      if (!fits(one.y[i])) { pen = false; continue; }
      if (pen) context.lineTo(X(one.x[i]), Y(one.y[i]));
      else context.moveTo(X(one.x[i]), Y(one.y[i]));
      pen = true;
    }
    if (one.dots) {
      for (let i = 0; i < one.x.length; i++) {
        if (!fits(one.y[i])) continue;
        context.beginPath(); context.arc(X(one.x[i]), Y(one.y[i]), 3.5, 0, 7); context.fill();
      }
    } else context.stroke();
    if (one.label) {
      context.beginPath(); context.moveTo(key, 10); context.lineTo(key + 20, 10); context.stroke();
      context.globalAlpha = 1;
      if (one.colour === "ghost") context.fillStyle = colour("soft");
      context.fillText(one.label, key + 24, 14);
      key += 34 + context.measureText(one.label).width;
    }
    context.globalAlpha = 1;
    context.setLineDash([]);
  }
}

// Matrices of 5 x 5 as colours, blue below zero and orange above; rows of {label, w}, each with layers of P and Q.
function matrices(canvas, rows, size, unused) {
  const { context, width, height, colour, ink } = surface(canvas);
  const count = rows[0].w.length / (size * size), layers = count / 2, left = 44, top = 18;
  const cell = Math.min((width - left) / (count * (size + 1)), (height - top) / (rows.length * (size + 1)), 16);
  context.fillStyle = ink;
  for (const [row, one] of rows.entries()) {
    const y = top + row * cell * (size + 1);
    const largest = Math.max(...one.w.map(Math.abs), 1e-12);
    context.fillStyle = ink;
    context.fillText(one.label, 2, y + cell * 3);
    for (let index = 0; index < count; index++) {
      const x = left + index * cell * (size + 1);
      if (row === 0) { context.fillStyle = ink; context.fillText(`${index % 2 ? "Q" : "P"}${Math.floor(index / 2) + 1}`, x + cell * 1.6, top - 5); }
      for (let i = 0; i < size * size; i++) {
        const value = one.w[index * size * size + i] / largest;
        context.globalAlpha = index === unused ? 0.15 : 1;
        context.fillStyle = colour("line");
        context.fillRect(x + (i % size) * cell, y + Math.floor(i / size) * cell, cell - 1, cell - 1);
        context.globalAlpha *= Math.min(1, Math.abs(value));
        context.fillStyle = colour(value < 0 ? "adam" : "sgd");
        context.fillRect(x + (i % size) * cell, y + Math.floor(i / size) * cell, cell - 1, cell - 1);
        context.globalAlpha = 1;
      }
    }
  }
  return layers;
}

function histogram(values, edges) {
  const counts = new Array(edges.length - 1).fill(0);
  for (const v of values) {
    let k = 0;
    while (k < counts.length && v >= edges[k + 1]) k++;
    if (k < counts.length && v >= edges[0]) counts[k]++;
  }
  return counts.map((count, k) => count / values.length / Math.log(edges[k + 1] / edges[k]));
}
