"""The player that `html` puts into a page: its script and its style. Knows only rows and times."""

from __future__ import annotations

STYLE = """
body{margin:2rem auto;max-width:76rem;padding:0 1rem;background:#f3f3f1;color:#222;
 font:16px/1.4 system-ui,sans-serif}
h1{font-size:1.1rem;font-weight:600}
#frame{background:var(--bg);border-radius:6px;padding:12px;overflow-x:auto}
#screen{margin:0;color:var(--fg);font:14px/18px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,
 monospace;outline:none;width:max-content}
#screen div{height:18px;white-space:pre;position:relative}
#screen i.cursor{position:absolute;top:0;height:18px;width:1ch;background:var(--fg);opacity:.55}
#bar{display:flex;flex-wrap:wrap;gap:.7rem;align-items:center;margin:.6rem 0}
#bar button{width:2.6rem;font-size:1rem}
#seek{flex:1;min-width:10rem}
#time{font-variant-numeric:tabular-nums}
#markers button{margin-right:.5rem}
"""

SCRIPT = """
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byId = id => document.getElementById(id);
const screen = byId('screen'), play = byId('play'), seek = byId('seek'), time = byId('time');
const speed = byId('speed'), idle = byId('idle');
const IDLE_S = 2, FULL_EVERY = 100;
const lines = [], shown = [];
for (let y = 0; y < data.height; y++) {
  lines.push(screen.appendChild(document.createElement('div')));
  shown.push(-1);
}
const cursor = document.createElement('i');
cursor.className = 'cursor';

// What all rows are, every so many frames: from there on a seek has few changes to follow.
const full = [];
{
  const rows = new Array(data.height).fill(-1);
  data.frames.forEach((frame, n) => {
    apply(rows, frame);
    if (n % FULL_EVERY === 0) full.push(rows.slice());
  });
}

function apply(rows, frame) {
  for (let i = 0; i < frame[1].length; i += 2) rows[frame[1][i]] = frame[1][i + 1];
}

function draw(y, row) {
  const line = lines[y], runs = row < 0 ? [] : data.rows[row];
  line.textContent = '';
  for (let i = 0; i < runs.length; i += 2) {
    const [fg, bg, bold, italic, lined] = data.styles[runs[i + 1]];
    const span = document.createElement('span');
    span.textContent = runs[i];
    if (fg) span.style.color = fg;
    if (bg) span.style.backgroundColor = bg;
    if (bold) span.style.fontWeight = 'bold';
    if (italic) span.style.fontStyle = 'italic';
    if (lined) span.style.textDecoration = lined;
    line.appendChild(span);
  }
  shown[y] = row;
}

function frameAt(at) {
  let low = 0, high = data.frames.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data.frames[middle][0] <= at) low = middle; else high = middle - 1;
  }
  return low;
}

function show(number) {
  const rows = full[Math.floor(number / FULL_EVERY)].slice();
  for (let n = number - number % FULL_EVERY + 1; n <= number; n++) apply(rows, data.frames[n]);
  rows.forEach((row, y) => { if (row !== shown[y]) draw(y, row); });
  const [, , x, y] = data.frames[number];
  if (x < 0) { cursor.remove(); return; }
  cursor.style.left = x + 'ch';
  lines[y].appendChild(cursor);
}

let now = 0, current = -1, playing = false, last = 0;

function clock(s) {
  s = Math.floor(s);
  const two = n => String(n).padStart(2, '0');
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return (h ? h + ':' + two(m) : m) + ':' + two(s % 60);
}

function update() {
  const number = frameAt(now);
  if (number !== current) show(current = number);
  seek.value = now;
  time.textContent = clock(now) + ' / ' + clock(data.duration);
}

function step(stamp) {
  if (!playing) return;
  now += (stamp - last) / 1000 * Number(speed.value);
  last = stamp;
  if (idle.checked) {
    const number = frameAt(now), next = data.frames[number + 1];
    const end = next ? next[0] : data.duration;
    if (now - data.frames[number][0] > IDLE_S && end > now) now = end;
  }
  if (now >= data.duration) { now = data.duration; setPlaying(false); }
  update();
  if (playing) requestAnimationFrame(step);
}

function setPlaying(on) {
  if (on && now >= data.duration) now = 0;
  playing = on;
  play.textContent = on ? '\\u23f8' : '\\u25b6';
  if (on) requestAnimationFrame(stamp => { last = stamp; step(stamp); });
}

function goTo(at) {
  now = Math.min(Math.max(at, 0), data.duration);
  update();
}

play.onclick = () => setPlaying(!playing);
seek.max = data.duration;
seek.oninput = () => goTo(Number(seek.value));
document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.tagName === 'SELECT') return;
  const steps = {ArrowLeft: -5, ArrowRight: 5};
  if (event.key === ' ' && event.target.tagName !== 'BUTTON') setPlaying(!playing);
  else if (event.key in steps) goTo(now + steps[event.key]);
  else if (event.key === '.') goTo((data.frames[current + 1] || [data.duration])[0]);
  else if (event.key === 'Home') goTo(0);
  else if (event.key === 'End') goTo(data.duration);
  else return;
  event.preventDefault();
};
for (const [at, label] of data.markers) {
  const button = document.createElement('button');
  button.textContent = clock(at) + ' ' + label;
  button.onclick = () => goTo(at);
  byId('markers').appendChild(button);
}
// PAGE.html#t=12 starts there.
const wanted = /^#t=([0-9.]+)$/.exec(location.hash);
goTo(wanted ? Number(wanted[1]) : 0);
"""
