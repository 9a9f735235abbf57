/* The live tab: <live-view> around the markup of live.py. The camera's newest frame goes to the
 * server while few are on their way, and the newest result comes back; live_messages.py tells what
 * is said. */

const FRAME = 1, RESULT = 2, SHOWN = 3, TAKEN = 4, PICTURE = 5, CLIP = 6, STATE = 7, WISH = 8;
const IN_FLIGHT = 2;           // frames on their way to the server
const ENOUGH = 2;              // sides of a frame that is sent, in the model's
const QUALITY = 0.85;
const SECONDS = 2;             // that rate and latency are those of
const SOCKET = new URL('./socket', import.meta.url.replace(/^http/, 'ws'));

function numbered(kind, number, content = new ArrayBuffer(0)) {
  const message = new Uint8Array(5 + content.byteLength);
  const view = new DataView(message.buffer);
  view.setUint8(0, kind);
  view.setUint32(1, number, true);
  message.set(new Uint8Array(content), 5);
  return message;
}

function plain(kind, content) {
  const message = new Uint8Array(1 + content.byteLength);
  message[0] = kind;
  message.set(new Uint8Array(content), 1);
  return message;
}

class LiveView extends HTMLElement {
  connectedCallback() {
    if (this.ready) return;
    this.ready = true;
    this.texts = JSON.parse(this.dataset.texts);
    this.find = (name) => this.querySelector(`[data-part="${name}"]`);
    this.video = this.find('video');
    this.screen = this.find('screen');
    this.sheet = document.createElement('canvas');  // what is sent is drawn on it
    this.log = {sent: 0, taken: 0, shown: 0, results: 0};  // numbers of the last ones, and a count
    this.mirrored = false;
    this.reset();
    this.on('start', () => (this.running ? this.end() : this.start()));
    this.on('calibrate', () => this.wish('calibrate'));
    this.on('mirror', () => this.mirror(!this.mirrored));
    this.on('record', () => this.wish('record', !this.recording));
    this.on('choose', () => this.find('file').click());
    this.find('file').addEventListener('change', (event) => this.choose(event.target.files[0]));
    this.find('zoom').addEventListener('input', () => this.frameVideo());
    this.querySelectorAll('[data-picture]').forEach((button) =>
      button.addEventListener('click', () => this.chooseExample(button)));
    this.show('idle');
    this.chooseExample(this.querySelector('[data-picture]'));
  }

  disconnectedCallback() {
    // Moved within the page, it is connected again at once.
    setTimeout(() => { if (!this.isConnected) this.stop('stopped'); }, 0);
  }

  on(name, action) {
    this.find(name).addEventListener('click', action);
  }

  reset() {
    this.running = this.live = this.recording = this.ending = false;
    this.socket = this.stream = null;
    this.busy = false;         // with a frame that is being encoded
    this.captured = 0;         // when one was, last
    this.moments = new Map();  // when frames were sent, by number
    this.recent = [];          // [when, latency] of results
    this.clip = [];
  }

  // ---- what is said ----

  show(state, values = {}, wrong = false) {
    this.said = [state, values, wrong];
    let text = this.texts[`live_${state}`];
    for (const [name, value] of Object.entries(values)) text = text.replace(`{${name}}`, value);
    const line = this.find('state');
    line.textContent = text;
    line.classList.toggle('wrong', wrong);
    this.dataset.state = state;
  }

  buttons() {
    const start = this.find('start');
    start.textContent = this.texts[this.running ? 'live_stop' : 'live_start'];
    start.classList.toggle('primary', !this.running);
    for (const name of ['calibrate', 'record']) this.find(name).disabled = !this.live;
    this.find('model').disabled = this.running;
    const record = this.find('record');
    record.textContent = this.texts[this.recording ? 'live_record_stop' : 'live_record'];
    record.setAttribute('aria-pressed', this.recording);
    this.classList.toggle('on', this.running);
    this.classList.toggle('following', this.log.shown > 0);
  }

  measure() {
    const now = performance.now();
    this.recent = this.recent.filter(([when]) => now - when < 1000 * SECONDS);
    const rate = this.find('rate'), latency = this.find('latency');
    if (this.recent.length < 2) {
      rate.textContent = latency.textContent = '–';
      return;
    }
    const [first, last] = [this.recent[0][0], this.recent[this.recent.length - 1][0]];
    rate.textContent = (1000 * (this.recent.length - 1) / (last - first)).toFixed(1);
    const delays = this.recent.map(([, delay]) => delay).sort((a, b) => a - b);
    latency.textContent = delays[delays.length >> 1].toFixed(0);
  }

  // ---- start and stop ----

  async start() {
    this.running = true;
    this.log = {sent: 0, taken: 0, shown: 0, results: 0};
    this.find('download').classList.add('none');
    this.buttons();
    this.show('camera_wait');
    const turn = this.turn = {};  // tells this start from later ones
    let stream;
    try {
      if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError');
      stream = await navigator.mediaDevices.getUserMedia(
        {video: {width: {ideal: 640}, height: {ideal: 480}, frameRate: {ideal: 30}}, audio: false});
    } catch (error) {
      const states = {SecurityError: 'insecure', NotAllowedError: 'denied'};
      if (this.turn === turn) this.stop(states[error.name] || 'no_camera', {}, true);
      return;
    }
    if (this.turn !== turn || !this.running) {
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this.stream = stream;
    stream.getTracks()[0].addEventListener('ended', () => this.stop('camera_lost', {}, true));
    this.video.srcObject = stream;
    this.video.play().catch(() => {});
    this.show('preparing');
    this.open();
  }

  open() {
    SOCKET.searchParams.set('language', this.dataset.language);
    const socket = this.socket = new WebSocket(SOCKET);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.wish('start', this.find('model').value);
    socket.onmessage = ({data}) => { if (socket === this.socket) this.receive(data); };
    socket.onclose = () => { if (socket === this.socket) this.stop('lost', {}, true); };
  }

  end() {
    // The last frame's result is still waited for, and the clip that is being recorded.
    if (!this.live || this.ending) {
      this.stop('stopped');
      return;
    }
    this.ending = true;
    if (this.recording) this.wish('record', false);
    const turn = this.turn;
    setTimeout(() => { if (this.turn === turn) this.stop('stopped'); }, this.recording ? 10000 : 2000);
    this.endIfDone();
  }

  endIfDone() {
    if (this.ending && !this.recording && this.log.shown === this.log.sent) this.stop('stopped');
  }

  stop(state, values = {}, wrong = false) {
    const {socket, stream} = this;
    this.reset();
    this.turn = null;
    if (socket) socket.close();
    if (stream) stream.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
    this.buttons();
    this.measure();
    this.show(state, values, wrong);
  }

  send(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(message);
  }

  wish(wish, value = null) {
    this.send(plain(WISH, new TextEncoder().encode(JSON.stringify({wish, value}))));
  }

  // ---- from the server ----

  receive(data) {
    const view = new DataView(data), kind = view.getUint8(0);
    if (kind === RESULT) this.showResult(view.getUint32(1, true), data.slice(9));
    else if (kind === TAKEN) this.log.taken = view.getUint32(1, true);
    else if (kind === CLIP) this.clip.push(data.slice(1));
    else if (kind === STATE) this.change(JSON.parse(new TextDecoder().decode(data.slice(1))));
  }

  change({state, why, width, height}) {
    if (state === 'ready') {
      this.shape = {width, height};
      this.live = true;
      this.frameVideo();
      if (this.picture) this.send(plain(PICTURE, this.picture));
      this.wish('mirror', this.mirrored);
      this.buttons();
      this.show('running');
      this.watch();
    } else if (state === 'picture') {
      if (why === undefined) return;
      this.choosePicture(...this.before);
      this.show('picture_wrong', {why}, true);
    } else if (state === 'recording') {
      this.recording = true;
      this.clip = [];
      this.find('download').classList.add('none');
      this.buttons();
      this.show('recording');
    } else if (state === 'recorded') {
      this.recording = false;
      this.buttons();
      this.offer(why);
      if (this.ending) this.stop(...this.said);
    } else {
      this.stop({idle: 'idle_out'}[state] || state, {why}, true);
    }
  }

  async showResult(number, jpeg) {
    const image = await createImageBitmap(new Blob([jpeg], {type: 'image/jpeg'}));
    this.send(numbered(SHOWN, number));
    if (!this.live || number <= this.log.shown) return;
    this.draw(image);
    const now = performance.now(), sent = this.moments.get(number);
    for (const older of this.moments.keys()) if (older <= number) this.moments.delete(older);
    if (sent !== undefined) this.recent.push([now, now - sent]);
    const first = this.log.results === 0;
    this.log.shown = number;
    this.log.results += 1;
    if (first) this.buttons();
    this.measure();
    this.endIfDone();
  }

  draw(image) {
    this.screen.width = image.width;
    this.screen.height = image.height;
    this.screen.getContext('2d').drawImage(image, 0, 0);
    image.close();
  }

  // ---- the camera ----

  watch() {
    const turn = this.turn;
    const next = () => {
      if (this.turn !== turn || !this.live) return;
      this.capture();
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(next);
      else setTimeout(next, 33);
    };
    next();
  }

  pace() {
    // Milliseconds from one result to the next, of late.
    const {recent} = this, last = recent.length - 1;
    return last < 1 ? 0 : (recent[last][0] - recent[0][0]) / last;
  }

  cut() {
    // The middle of what the camera sees, of the model's shape: x, y, width, height.
    const {videoWidth, videoHeight} = this.video;
    const ratio = this.shape ? this.shape.width / this.shape.height : 1;
    const height = Math.min(videoHeight, videoWidth / ratio) / this.find('zoom').value;
    const width = height * ratio;
    return [(videoWidth - width) / 2, (videoHeight - height) / 2, width, height];
  }

  frameVideo() {
    this.video.style.setProperty('--zoom', this.find('zoom').value);
  }

  async capture() {
    const {log, socket} = this;
    if (this.busy || this.ending || !this.video.videoWidth || log.sent - log.taken >= IN_FLIGHT) return;
    // Two frames for a result leave the newest a little older, and the processor to the networks.
    if (performance.now() - this.captured < this.pace() / 2) return;
    this.captured = performance.now();
    this.busy = true;  // one frame is encoded at a time
    try {
      const cut = this.cut();
      const scale = Math.min(1, (ENOUGH * this.shape.height) / cut[3]);
      this.sheet.width = Math.round(cut[2] * scale);
      this.sheet.height = Math.round(cut[3] * scale);
      this.sheet.getContext('2d', {alpha: false})
        .drawImage(this.video, ...cut, 0, 0, this.sheet.width, this.sheet.height);
      const number = log.sent + 1, when = performance.now();
      const blob = await new Promise((done) => this.sheet.toBlob(done, 'image/jpeg', QUALITY));
      const jpeg = blob && await blob.arrayBuffer();
      if (!jpeg || socket !== this.socket || !socket) return;
      log.sent = number;
      this.moments.set(number, when);
      this.send(numbered(FRAME, number, jpeg));
    } finally {
      this.busy = false;
    }
  }

  mirror(mirrored) {
    this.mirrored = mirrored;
    this.find('mirror').setAttribute('aria-pressed', mirrored);
    this.video.classList.toggle('mirrored', mirrored);
    if (this.live) this.wish('mirror', mirrored);
  }

  // ---- the picture ----

  async chooseExample(button) {
    const response = await fetch(button.querySelector('img').src);
    await this.use(await response.blob(), button);
  }

  async choose(file) {
    this.find('file').value = '';
    if (!file) return;
    const most = Number(this.dataset.mostMegabytes);
    if (file.size > most * 1e6) this.show('picture_large', {most}, true);
    else await this.use(file, this.find('choose'));
  }

  async use(blob, button) {
    const picture = await blob.arrayBuffer();
    this.before = [this.picture || picture, this.chosen || button];  // to return to
    this.choosePicture(picture, button);
    if (this.live) this.send(plain(PICTURE, this.picture));
    // What the browser cannot show, such as HEIC, the server may still read.
    const image = await createImageBitmap(blob).catch(() => null);
    if (image && !this.log.shown) this.draw(this.middle(image));
    if (image && button === this.find('choose')) {
      const old = button.style.backgroundImage.slice(5, -2);
      if (old) URL.revokeObjectURL(old);
      button.style.backgroundImage = `url("${URL.createObjectURL(blob)}")`;
    }
  }

  choosePicture(picture, button) {
    [this.picture, this.chosen] = [picture, button];
    this.querySelectorAll('[aria-checked]').forEach((other) =>
      other.setAttribute('aria-checked', other === button));
  }

  middle(image) {
    const side = Math.min(image.width, image.height), sheet = document.createElement('canvas');
    sheet.width = sheet.height = Math.min(side, 512);
    sheet.getContext('2d').drawImage(image, (image.width - side) / 2, (image.height - side) / 2,
      side, side, 0, 0, sheet.width, sheet.height);
    sheet.close = () => image.close();
    return sheet;
  }

  // ---- the recording ----

  offer(why) {
    if (why !== undefined) {
      this.show('record_wrong', {why}, true);
    } else if (!this.clip.length) {
      this.show('recorded_nothing');
    } else {
      const link = this.find('download');
      if (link.href) URL.revokeObjectURL(link.href);
      link.href = URL.createObjectURL(new Blob(this.clip, {type: 'video/mp4'}));
      link.classList.remove('none');
      this.show('recorded');
    }
    this.clip = [];
  }
}

customElements.define('live-view', LiveView);
