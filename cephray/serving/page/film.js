// The film on a canvas: zoom, pan, brightness, contrast, gamma, inversion. It knows no points.
// Grey values go through a table once for each change of the sliders; moving the film only draws.

const LARGEST = 16, ZOOM_STEP = 1.0015;

export class Film extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.look = { brightness: 0, contrast: 0, gamma: 1, inverted: false };
    this.scale = 1; // CSS pixels for each pixel of the film
    this.left = 0; // CSS pixels from the canvas's edge to the film's
    this.top = 0;
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Show an ImageBitmap, in whole. */
  show(image) {
    this.image?.close();
    this.width = image.width;
    this.height = image.height;
    this.image = this.shown = image;
    this.grey = null;
    if (!this.isPlain) this.#look();
    this.fit();
  }

  get isPlain() {
    const { brightness, contrast, gamma, inverted } = this.look;
    return brightness === 0 && contrast === 0 && gamma === 1 && !inverted;
  }

  setLook(look) {
    this.look = { ...this.look, ...look };
    if (!this.shown || this.looking) return;
    this.looking = requestAnimationFrame(() => {
      this.looking = null;
      this.#look();
      this.draw();
    });
  }

  #look() {
    if (this.isPlain) {
      this.shown = this.image;
      return;
    }
    if (!this.grey) this.#readGrey();
    const { brightness, contrast, gamma, inverted } = this.look;
    const table = new Uint32Array(256), slope = Math.tan((contrast + 1) * Math.PI / 4);
    for (let grey = 0; grey < 256; grey += 1) {
      let value = (grey / 255) ** (1 / gamma);
      value = (value - 0.5) * slope + 0.5 + brightness;
      const byte = Math.round(255 * Math.min(Math.max(inverted ? 1 - value : value, 0), 1));
      table[grey] = 0xff000000 | byte << 16 | byte << 8 | byte;
    }
    const words = new Uint32Array(this.pixels.data.buffer), { grey } = this;
    for (let at = 0; at < words.length; at += 1) words[at] = table[grey[at]];
    this.looked.getContext("2d").putImageData(this.pixels, 0, 0);
    this.shown = this.looked;
  }

  /** Read the grey values, which only a changed look needs. */
  #readGrey() {
    this.looked = new OffscreenCanvas(this.width, this.height);
    const context = this.looked.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.image, 0, 0);
    this.pixels = context.getImageData(0, 0, this.width, this.height);
    this.grey = Uint8Array.from(new Uint32Array(this.pixels.data.buffer), (word) => word & 255);
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = Math.min(clientWidth / this.width, clientHeight / this.height);
    this.left = (clientWidth - this.scale * this.width) / 2;
    this.top = (clientHeight - this.scale * this.height) / 2;
    this.isFitted = true;
    this.moved();
  }

  /** Zoom by a factor at a place of the canvas, which stays where it is. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const { clientWidth, clientHeight } = this.canvas;
    const smallest = 0.5 * Math.min(clientWidth / this.width, clientHeight / this.height);
    const scale = Math.min(Math.max(this.scale * factor, smallest), LARGEST);
    this.left = x - (x - this.left) * scale / this.scale;
    this.top = y - (y - this.top) * scale / this.scale;
    this.scale = scale;
    this.isFitted = false;
    this.moved();
  }

  wheel(delta, x, y) { this.zoom(ZOOM_STEP ** -delta, x, y); }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.isFitted = false;
    this.moved();
  }

  /** Pan such that a point of the film is within the canvas. */
  reveal(point) {
    const [x, y] = this.toCanvas(point), margin = 30;
    const { clientWidth, clientHeight } = this.canvas;
    const dx = Math.min(Math.max(x, margin), clientWidth - margin) - x;
    const dy = Math.min(Math.max(y, margin), clientHeight - margin) - y;
    if (dx || dy) this.pan(dx, dy);
  }

  /** From pixels of the film, whose (0, 0) is the centre of the first, to the canvas's. */
  toCanvas([x, y]) {
    return [(x + 0.5) * this.scale + this.left, (y + 0.5) * this.scale + this.top];
  }

  toFilm(x, y) {
    return [(x - this.left) / this.scale - 0.5, (y - this.top) / this.scale - 0.5];
  }

  moved() {
    this.draw();
    this.dispatchEvent(new Event("move"));
  }

  draw() {
    if (!this.shown) return;
    const { context, canvas } = this, ratio = canvas.width / canvas.clientWidth;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale,
      ratio * this.left, ratio * this.top);
    context.imageSmoothingEnabled = this.scale < 4;
    context.imageSmoothingQuality = "medium";
    context.drawImage(this.shown, 0, 0);
  }

  /** Draw the surroundings of a point of the film on a square canvas. */
  magnify(context, [x, y], side, factor) {
    const part = side / factor;
    context.imageSmoothingEnabled = factor < 4;
    context.fillStyle = "#000";
    context.fillRect(0, 0, side, side);
    context.drawImage(this.shown, x + 0.5 - part / 2, y + 0.5 - part / 2, part, part,
      0, 0, side, side);
  }

  #resize() {
    const { canvas } = this, ratio = Math.min(devicePixelRatio || 1, 2);
    if (!canvas.clientWidth || !canvas.clientHeight) return;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    if (!this.shown) return;
    if (this.isFitted) this.fit();
    else this.moved();
  }
}
