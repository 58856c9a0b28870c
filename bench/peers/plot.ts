/** The ratios as a bar plot, SVG. Pure. */

import { type Measured, medianOf } from "./table.ts";

const WIDTH = 860;
const LABEL_WIDTH = 330;
const ROW_HEIGHT = 22;
const SCENE_HEIGHT = 34;
/** The axis ends here; longer bars are cut and labelled. */
const MAX_RATIO = 2;
const COLOURS = ["#3a7ca5", "#81a4cd", "#f4a259", "#5b8e7d"];

/** For every cost (figures where less is better) how ours compare to the original, which is 1. */
export function plotRatios(measured: readonly Measured[]): string {
  const parts: string[] = [];
  let y = 40;
  const scale = (WIDTH - LABEL_WIDTH - 70) / MAX_RATIO;
  for (const { name, runs } of measured) {
    const [base, ...others] = [...runs.keys()];
    y += SCENE_HEIGHT;
    parts.push(text(10, y - 10, name, "font-weight='bold'"));
    for (const figure of Object.keys(runs.get(base)![0]).filter(isCost)) {
      others.forEach((other, index) => {
        const ratio = medianOf(runs.get(other)!, figure) / medianOf(runs.get(base)!, figure);
        if (!Number.isFinite(ratio)) return;
        const width = Math.max(1, Math.min(MAX_RATIO, ratio) * scale);
        const label = others.length > 1 ? `${figure} (${other})` : figure;
        parts.push(
          text(LABEL_WIDTH - 10, y + 11, label, "text-anchor='end'"),
          `<rect x='${LABEL_WIDTH}' y='${y}' width='${width.toFixed(1)}' height='${
            ROW_HEIGHT - 7
          }' fill='${COLOURS[index % COLOURS.length]}'/>`,
          text(LABEL_WIDTH + width + 6, y + 11, ratio.toFixed(2)),
        );
        y += ROW_HEIGHT;
      });
    }
  }
  const one = LABEL_WIDTH + scale;
  parts.push(
    `<line x1='${one}' y1='30' x2='${one}' y2='${y}' stroke='#888' stroke-dasharray='4 3'/>`,
    text(one, 24, "original = 1", "text-anchor='middle'"),
    text(10, 24, "less is better", "fill='#666'"),
  );
  return `<svg xmlns='http://www.w3.org/2000/svg' width='${WIDTH}' height='${y + 20}' ` +
    `font-family='sans-serif' font-size='12'><rect width='100%' height='100%' fill='white'/>` +
    `${parts.join("")}</svg>\n`;
}

function isCost(figure: string): boolean {
  return !["%", "/s ", "target : online"].some((part) => figure.includes(part));
}

function text(x: number, y: number, content: string, attributes = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x='${x.toFixed(1)}' y='${y}' ${attributes}>${escaped}</text>`;
}
