// The frame of every page: one file that needs nothing else, light and dark, readable on a phone; without script all of it is
// there.
import { escapeXml } from '../text/xml.js';
import { DEPTHS } from './heat_map.js';
import type { Section } from './sections.js';

/** Told apart by people who see few colours, too: Okabe and Ito 2008, darker on white and brighter on black. */
const LIGHT = ['#0072b2', '#c94f00', '#00855f', '#b0508a', '#8a6a00', '#3a7fb8', '#5b4a9e'];
const DARK = ['#58b0f0', '#ff9350', '#35c998', '#ee9cc8', '#e6b422', '#9ad3ff', '#b9a5ff'];
const coloursOf = (all: readonly string[]): string => all.map((colour, i) => `--c${i}:${colour}`).join(';');
const SERIES = LIGHT.map((_, i) => `.c${i}{--c:var(--c${i})}`).join('');
const HEAT = Array.from(
  { length: DEPTHS },
  (_, i) => `.h${i}{fill:var(--heat);fill-opacity:${(0.08 + (0.92 * i) / (DEPTHS - 1)).toFixed(2)}}`,
).join('');

const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--card:#f7f7f5;--text:#1d1d1f;--quiet:#5f6368;--line:#dcdcd8;--grid:#e6e6e2;--mark:#fff3d1;--marktext:#6b4e00;--heat:#0a4d8c;--good:#00724f;--bad:#b3261e;${coloursOf(LIGHT)}}
@media (prefers-color-scheme:dark){:root{--bg:#16171a;--card:#1f2125;--text:#e8e8e6;--quiet:#a3a7ad;--line:#3a3d42;--grid:#2e3136;--mark:#3d3210;--marktext:#f3d98b;--heat:#8cc8ff;--good:#5cd6a9;--bad:#ff8a80;${coloursOf(DARK)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
body>*{max-width:1360px;margin-inline:auto;padding-inline:max(16px,3vw)}
header{padding-block:28px 4px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 6px;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0 0 12px;padding-top:22px;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:22px 0 8px;overflow-wrap:anywhere}
p{margin:0 0 12px;max-width:75ch}
nav{display:flex;flex-wrap:wrap;gap:2px 16px;padding-block:6px 12px}
nav a{color:inherit}
section{padding-block:10px}
.quiet,figcaption span{color:var(--quiet)}
.grid{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,310px),1fr));margin-bottom:16px}
.grid.wide{grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr))}
figure,article{margin:0;padding:12px 14px;background:var(--card);border:1px solid var(--line);border-radius:8px;min-width:0;container-type:inline-size}
article h3{margin-top:0}
article ul{margin:0 0 10px;padding-left:20px;overflow-wrap:anywhere}
article p{overflow-wrap:anywhere}
figcaption{display:flex;flex-wrap:wrap;gap:0 8px;font-size:.9rem;line-height:1.4;min-height:2.8em;align-content:flex-start;margin-bottom:6px;overflow-wrap:anywhere}
svg.chart{display:block;width:100%;height:auto;overflow:visible}
svg.chart text{font-size:13px;fill:var(--quiet);paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
@container (min-width:520px){svg.chart text{font-size:10.5px}}
@container (max-width:330px){svg.chart text{font-size:16px}}
.tick{stroke:var(--grid)}
.axis{stroke:var(--line)}
.level{stroke:var(--quiet);stroke-dasharray:5 4}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.band{fill:var(--c);fill-opacity:.16}
circle{fill:var(--c)}
.faint .line{stroke-width:1.5;stroke-opacity:.45}
.tail,.faint .tail{stroke-width:1.2;stroke-opacity:.5;stroke-dasharray:3 3}
.faint .band{fill-opacity:.07}
.faint circle{fill-opacity:.45}
.d1 .line,.d1 .key{stroke-dasharray:7 4}.d2 .line,.d2 .key{stroke-dasharray:2 3}
${SERIES}
${HEAT}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin-block:0;padding-block:10px;position:sticky;top:0;background:var(--bg);border-bottom:1px solid var(--line);z-index:1;font-size:.9rem}
.legend li{display:flex;align-items:center;gap:7px;min-width:0;overflow-wrap:anywhere}
.legend svg{width:26px;height:10px;flex:none}
.key{stroke:var(--c);stroke-width:3;fill:none}
.scale{display:flex;align-items:center;margin-bottom:8px;gap:3px;font-size:.85rem;color:var(--quiet)}
.scale svg{width:14px;height:14px}.scale svg:first-of-type{margin-left:6px}.scale svg:last-of-type{margin-right:6px}
.scroll{overflow-x:auto;margin-bottom:12px}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 14px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap}
thead th{color:var(--quiet);font-weight:600}
tbody th{font-weight:500}
.settings tbody th{position:sticky;left:0;background:var(--bg)}
.settings td{white-space:normal;overflow-wrap:anywhere;min-width:90px;max-width:340px}
.settings .differs th,.settings .differs td{background:var(--mark);color:var(--marktext)}
.differs th{padding-left:8px}
.mark{background:var(--mark);color:var(--marktext);border-radius:4px;padding:0 6px;font-size:.8rem;font-weight:500}
.state{font-size:.8rem;font-weight:600;border:1px solid currentColor;border-radius:10px;padding:1px 9px;margin-left:6px;color:var(--quiet);white-space:nowrap}
.state.done{color:var(--good)}.state.failed{color:var(--bad)}
.warnings{color:var(--text)}
details{margin-top:8px;font-size:.87rem}
summary{cursor:pointer;color:var(--quiet)}
details[open] summary{margin-bottom:8px}
.sheets{display:flex;gap:12px;overflow-x:auto;padding-bottom:8px;margin-bottom:6px}
.sheets figure{flex:none;width:min(300px,78vw)}
.sheets img{display:block;width:100%;height:auto;border-radius:4px}
.sheets figcaption{margin:6px 0 0}
.map figcaption,.sheets figcaption{min-height:0}
footer{padding-block:18px 32px;color:var(--quiet);font-size:.85rem}
#tip{position:fixed;pointer-events:none;background:var(--text);color:var(--bg);border-radius:6px;padding:5px 9px;font-size:.8rem;line-height:1.35;max-width:min(340px,80vw);padding-inline:9px;z-index:2;white-space:pre-line;overflow-wrap:anywhere}
@media print{.legend{position:static}figure{break-inside:avoid}}
`;

/** The values of all lines under the pointer. The page is whole without it: the tables have them, too. */
const SCRIPT = `
(()=>{const tip=document.createElement('div');tip.id='tip';tip.hidden=true;document.body.append(tip);
const show=v=>Math.abs(v)>=1e5||v!==0&&Math.abs(v)<1e-3?v.toExponential(2):String(Number(v.toPrecision(4)));
for(const svg of document.querySelectorAll('svg[data-frame]')){
const [x0,x1,l,r,y0,y1,b,t,log]=svg.dataset.frame.split(' ').map(Number);
const lines=[...svg.querySelectorAll('path.line')].map(p=>({name:p.dataset.name,points:p.getAttribute('d').match(/[-\\d.]+,[-\\d.]+/g).map(q=>q.split(',').map(Number))}));
const value=y=>{const s=(y-b)/(t-b);return log?10**(Math.log10(y0)+s*(Math.log10(y1)-Math.log10(y0))):y0+s*(y1-y0)};
svg.addEventListener('pointermove',e=>{const box=svg.getBoundingClientRect();const at=(e.clientX-box.left)/box.width*svg.viewBox.baseVal.width;
const rows=lines.flatMap(({name,points})=>{let best=points[0];for(const p of points)if(Math.abs(p[0]-at)<Math.abs(best[0]-at))best=p;return Math.abs(best[0]-at)>(r-l)/12?[]:[name+': '+show(value(best[1]))]});
if(!rows.length||at<l||at>r){tip.hidden=true;return}
tip.textContent=[show(x0+(at-l)/(r-l)*(x1-x0)),...rows].join('\\n');tip.hidden=false;
tip.style.left=Math.max(4,Math.min(e.clientX+14,innerWidth-tip.offsetWidth-8))+'px';tip.style.top=Math.max(4,Math.min(e.clientY+14,innerHeight-tip.offsetHeight-8))+'px'});
svg.addEventListener('pointerleave',()=>{tip.hidden=true})}})()
`;

interface Page {
  title: string;
  /** HTML above and below the sections, and between the list of them and the rest. */
  legend?: string;
  intro: string;
  sections: readonly Section[];
  footer: string;
}

export const pageHtml = ({ title, legend = '', intro, sections, footer }: Page): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escapeXml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header><h1>${escapeXml(title)}</h1></header>
<nav aria-label="sections">${sections.map(({ id, title: name }) => `<a href="#${id}">${escapeXml(name)}</a>`).join('')}</nav>
${legend}
<main>
${intro}
${sections.map(({ id, title: name, html }) => `<section id="${id}"><h2>${escapeXml(name)}</h2>${html}</section>`).join('\n')}
</main>
<footer>${footer}</footer>
<script>${SCRIPT}</script>
</body>
</html>
`;
