// The colour scale of the model, with its unit.

import { decodeBase64 } from "dff/data.js";
import { ticks } from "dff/plot.js";

/** Draw the legend of the scene's colours; the canvas is empty where the model has its own colours. */
export function drawLegend(canvas, scene, meta) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2), { mode } = scene.state;
  if (mode === "picture") {
    canvas.width = canvas.height = 1;
    canvas.style.width = canvas.style.height = "0px";
    return;
  }
  const [wide, tall] = [118, 240];
  canvas.width = wide * ratio;
  canvas.height = tall * ratio;
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${tall}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  drawBar(context, decodeBase64(meta.colour_maps[scene.state.colourMap]));
  drawNumbers(context, mode, scene.range(), titleOf(mode, meta));
}

function titleOf(mode, meta) {
  return {
    height: `Height, ${meta.z_unit}`, confidence: "Confidence, %", frame: "Source frame", error: `Error ± 1σ, ${meta.z_unit}`,
  }[mode];
}

const TOP = 30, BOTTOM = 228, LEFT = 100;

function drawBar(context, ramp) {
  for (let y = TOP; y < BOTTOM; y += 0.5) {
    const k = Math.round(255 * (1 - (y - TOP) / (BOTTOM - TOP)));
    context.fillStyle = `rgb(${ramp[3 * k]} ${ramp[3 * k + 1]} ${ramp[3 * k + 2]})`;
    context.fillRect(LEFT, y, 12, 0.75);
  }
  context.strokeStyle = "#ffffff40";
  context.strokeRect(LEFT - 0.5, TOP - 0.5, 13, BOTTOM - TOP + 1);
}

function drawNumbers(context, mode, [low, high], title) {
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.shadowColor = "#000";
  context.shadowBlur = 5;
  context.fillStyle = "#e6e9ee";
  context.fillText(title, LEFT + 12, 12);
  const factor = mode === "confidence" ? 100 : 1;
  const { values, step } = mode === "error" ? logTicks(low, high) : ticks(low * factor, high * factor, 6);
  for (const value of values) {
    const level = mode === "error" ? Math.log(value / low) / Math.log(high / low) : (value / factor - low) / (high - low);
    const y = BOTTOM - level * (BOTTOM - TOP);
    if (y < TOP - 1 || y > BOTTOM + 1) continue;
    context.fillRect(LEFT - 5, y - 0.5, 5, 1);
    context.fillText(mode === "error" ? String(Number(value.toPrecision(2))) : mode === "frame" && step < 1 ? "" : spokenTick(value, step), LEFT - 9, y);
  }
}

function spokenTick(value, step) {
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

function logTicks(low, high) {
  const values = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of high / low > 50 ? [1, 3] : high / low > 8 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7]) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) values.push(value);
    }
  }
  return { values: values.length ? values : [low, high], step: 1 };
}

