// Small builders for the panels.

/** An element with properties, attributes (names with a dash or "role"), listeners ("on...") and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const ICONS = {
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  help: "M9.2 9a2.9 2.9 0 1 1 4.2 2.6c-.9.5-1.4 1.1-1.4 2.1M12 17.2v.1",
  home: "M4 11l8-7 8 7M6.5 9.5V20h11V9.5",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  left: "M4 6h16M4 12h10M4 18h16",
  right: "M4 5h16v14H4zM14 5v14",
  camera: "M4 8h4l2-3h4l2 3h4v11H4zM12 16.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6",
};

export function icon(name, title, onclick, extra = "") {
  const button = make("button", { className: `icon ${extra}`, title, "aria-label": title, type: "button", onclick });
  setIcon(button, name);
  return button;
}

export function setIcon(button, name) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawing.setAttribute("viewBox", "0 0 24 24");
  path.setAttribute("d", ICONS[name]);
  drawing.append(path);
  button.replaceChildren(drawing);
}

export function section(title, { open = true } = {}, ...children) {
  return make("section", {}, make("details", { open }, make("summary", {}, make("h2", {}, title)), ...children));
}

/** Buttons of which one is chosen: {value: label}. */
export function choices(options, chosen, onchoose, className = "") {
  const buttons = Object.entries(options).map(([value, label]) =>
    make("button", { type: "button", textContent: label, onclick: () => { select(value); onchoose(value); }, "data-value": value }));
  const select = (value) => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.value === value)));
  select(chosen);
  const element = make("div", { className: `choices ${className}`, role: "group" }, ...buttons);
  return Object.assign(element, { select });
}

/** A labelled slider; `say` words its value. */
export function slider(label, { min, max, step = "any", value, say = String, oninput }) {
  const output = make("output", {}, say(value));
  const input = make("input", { type: "range", min, max, step, "aria-label": label });
  input.value = value;
  const tell = () => { output.textContent = say(Number(input.value)); };
  input.addEventListener("input", () => { tell(); oninput(Number(input.value)); });
  const row = make("label", { className: "row" }, make("span", {}, label), output, input);
  return Object.assign(row, { input, set: (next) => { input.value = next; tell(); } });
}

export function check(label, checked, onchange) {
  const input = make("input", { type: "checkbox", checked });
  input.addEventListener("change", () => onchange(input.checked));
  return Object.assign(make("label", { className: "check" }, input, label), { input });
}

/** A disc on which the direction of the light is dragged. */
export function lampDisc(lamp, onchange) {
  const canvas = make("canvas", { width: 128, height: 128, title: "Direction of the light", tabIndex: 0, role: "slider", "aria-label": "Direction of the light" });
  let [x, y] = lamp;
  const draw = () => {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, 128, 128);
    const glow = context.createRadialGradient(64 + x * 56, 64 - y * 56, 2, 64, 64, 62);
    glow.addColorStop(0, "#fff3dd");
    glow.addColorStop(0.35, "#8b8478");
    glow.addColorStop(1, "#23262b");
    context.fillStyle = glow;
    context.beginPath();
    context.arc(64, 64, 60, 0, 7);
    context.fill();
    context.fillStyle = "#ffb454";
    context.beginPath();
    context.arc(64 + x * 56, 64 - y * 56, 6, 0, 7);
    context.fill();
  };
  const move = (nx, ny) => {
    const size = Math.max(1, Math.hypot(nx, ny) / 0.97);
    [x, y] = [nx / size, ny / size];
    draw();
    onchange([x, y, Math.sqrt(Math.max(0.05, 1 - x * x - y * y))]);
  };
  const drag = (event) => {
    const box = canvas.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width) * 2 - 1, 1 - ((event.clientY - box.top) / box.height) * 2);
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); drag(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (step) { event.preventDefault(); event.stopPropagation(); move(x + step[0], y + step[1]); }
  });
  draw();
  return canvas;
}
