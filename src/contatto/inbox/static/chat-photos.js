// Photos of the customer's chat: made small enough in the browser, kept as text until they are sent.
const LONGEST_SIDE = 1600;
const MOST_BYTES = 8 * 1024 * 1024; // what the server takes

function asDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

// A file that the browser cannot draw is sent as it is: the server looks at its content and says what is wrong.
export async function shrink(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    if (file.size > MOST_BYTES) return { url: "data:image/unknown;base64,", width: 0, height: 0, why: "photo_too_large" };
    return { url: await asDataUrl(file), width: 0, height: 0 };
  }
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const brush = canvas.getContext("2d");
  const type = file.type === "image/png" && scale === 1 ? "image/png" : "image/jpeg";
  if (type === "image/jpeg") {
    brush.fillStyle = "white";
    brush.fillRect(0, 0, canvas.width, canvas.height);
  }
  brush.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return { url: canvas.toDataURL(type, 0.85), width: canvas.width, height: canvas.height };
}

export function toBlob(url) {
  const [head, data] = url.split(",", 2);
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const type = /^data:(image\/[a-z0-9.+-]+)/i.exec(head)?.[1] ?? "image/unknown";
  return new Blob([bytes], { type });
}
