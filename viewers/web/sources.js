// Source frames at their full size, where the page is served and they are still there: for looking closely and for the brush.

const KEPT = 3;
const PATIENCE_MS = 250;

export class Sources {
  constructor(app) {
    this.app = app;
    this.loading = new Map();
    this.ready = new Map();
  }

  /** Whether the server can be asked. */
  get offered() {
    const { meta } = this.app;
    return meta.served && !meta.live && meta.names.length > 0 && !this.gone;
  }

  /** Frame k if it is here already; asks for it where the small picture is too coarse to look at. */
  at(k, coarse) {
    if (!this.ready.has(k) && coarse && this.offered && this.wanted !== k) {
      clearTimeout(this.timer);
      this.wanted = k;
      this.timer = setTimeout(() => this.load(k).then(() => this.app.picture.request()), PATIENCE_MS);
    }
    return this.ready.get(k) ?? null;
  }

  /** Frame k, or null where it is not to be had. */
  load(k) {
    if (!this.offered) return Promise.resolve(null);
    if (!this.loading.has(k)) {
      this.loading.set(k, this.fetch(k));
      for (const old of [...this.loading.keys()].slice(0, -KEPT)) this.drop(old);
    }
    return this.loading.get(k);
  }

  async fetch(k) {
    const answer = await fetch(`source/${k}.jpg`).catch(() => null);
    if (!answer?.ok) {
      this.gone = true;
      return null;
    }
    const bitmap = await createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" });
    if (this.loading.has(k)) this.ready.set(k, bitmap);
    return bitmap;
  }

  drop(k) {
    this.loading.delete(k);
    this.ready.delete(k);
    if (this.wanted === k) this.wanted = null;
  }
}
