// How the report looks, and the one line of script behind its copy buttons. Colours come in pairs for light and dark;
// the two nodes differ in hue and lightness, failure is marked by shape and word as well as by colour.

export const STYLE = `
:root{--page:#fbfbfa;--ink:#1c1e21;--soft:#5c636b;--rule:#d9dcdf;--lane:#f1f2f3;--a:#1f6fc4;--b:#d9730d;--bad:#c02626;--good:#1d7a46;--band:#b9d3ee;--target:#6d28a8}
@media (prefers-color-scheme:dark){:root{--page:#16181b;--ink:#e8eaed;--soft:#a0a7af;--rule:#34383d;--lane:#1f2226;--a:#6aaef5;--b:#f5a355;--bad:#ff7b72;--good:#57c98a;--band:#2b4a6b;--target:#c59bf0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem clamp(.75rem,3vw,2rem) 3rem;max-width:80rem;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:clamp(1.4rem,4vw,2rem);line-height:1.2;margin:.5rem 0}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;display:flex;gap:.75rem;align-items:baseline;flex-wrap:wrap}
a{color:var(--a)}
.when,.class,.legend,figcaption,footer,.formula{color:var(--soft)}
.legend,figcaption,footer{font-size:.875rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.75rem;margin:1rem 0}
.tile{border:1px solid var(--rule);border-left:4px solid var(--good);border-radius:6px;padding:.6rem .9rem}
.tile.bad{border-left-color:var(--bad)}
.tile b{display:block;font-size:1.35rem}
.tile span{color:var(--soft);font-size:.875rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.3rem .5rem;text-align:left;border-bottom:1px solid var(--rule);vertical-align:middle}
th{font-weight:600;color:var(--soft);vertical-align:bottom}
.number{text-align:right;font-variant-numeric:tabular-nums}
td.number{white-space:nowrap}
td.bad{color:var(--bad);font-weight:600}
.wide{min-width:14rem}
.verdict{font-size:.85rem;font-weight:600;white-space:nowrap}
.verdict.passed{color:var(--good)}.verdict.missed{color:var(--bad)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.5rem 0}
dt{color:var(--soft)}dd{margin:0}
details{border:1px solid var(--rule);border-radius:6px;padding:.5rem .75rem;margin:.6rem 0}
summary{cursor:pointer}
details.log{border:0;padding:0}
.line{font:.8rem/1.4 ui-monospace,monospace;word-break:break-word}
.reasons{color:var(--bad)}
figure{margin:.5rem 0}
svg.timeline{width:100%;min-width:40rem;height:auto;font:11px system-ui,sans-serif}
svg.strip{width:14rem;height:1.5rem;display:block}
.grid{stroke:var(--rule);stroke-width:1}
.lane{fill:var(--lane)}
.axis,.label{fill:var(--soft)}
.fault{stroke:var(--bad);stroke-dasharray:3 3}.fault-label{fill:var(--bad);font-weight:600}
.failed{fill:var(--bad)}
.answer.node-a,.owner.node-a{fill:var(--a)}.answer.node-b,.owner.node-b{fill:var(--b)}.answer.node-unknown{fill:var(--soft)}
.said{stroke:var(--soft);stroke-width:1.5}
.band{fill:var(--band)}.band.open{opacity:.45}
line.target{stroke:var(--target);stroke-width:2}
circle.measured{fill:var(--ink)}circle.missed{fill:none;stroke:var(--bad);stroke-width:2}
.key{display:inline-block;width:.9em;height:.9em;border-radius:2px;margin:0 .15em 0 .8em;vertical-align:-.1em;background:var(--soft)}
.key.band{background:var(--band)}.key.target{background:var(--target);width:.25em}.key.dot{background:var(--ink);border-radius:50%}
.key.node-a{background:var(--a)}.key.node-b{background:var(--b)}.key.failed{background:var(--bad);width:.3em}
.reproduce code{background:var(--lane);padding:.25rem .5rem;border-radius:4px;overflow-wrap:anywhere}
button{font:inherit;font-size:.85rem;color:var(--ink);background:var(--lane);border:1px solid var(--rule);border-radius:4px;padding:.15rem .6rem;cursor:pointer}
@media (max-width:44rem){
 thead{position:absolute;left:-999rem}
 tr{display:block;border-bottom:2px solid var(--rule);padding:.4rem 0}
 td{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.1rem 0;text-align:right;white-space:normal}
 td[data-label]::before{content:attr(data-label);color:var(--soft);text-align:left}
 .wide{min-width:0}
 svg.strip{width:12rem}
 dl{grid-template-columns:1fr}dt{margin-top:.3rem}
}
@media print{
 :root{--page:#fff;--ink:#000;--soft:#444;--rule:#bbb;--lane:#f4f4f4}
 body{max-width:none;padding:0;font-size:11px}
 button{display:none}
 .scenario{break-inside:avoid}
 .scroll{overflow:visible}
 svg.timeline{min-width:0}
}
`;

export const COPY_SCRIPT = `
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
`;
