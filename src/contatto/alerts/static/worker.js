// Shows alerts while no page is open; the server decided whom to tell, and sealed it for this browser.
const at = (path) => new URL(typeof path === "string" && path.startsWith("/") ? path : "/", self.location.origin).href;

self.addEventListener("push", (event) => {
  let told = {};
  try { told = event.data.json(); } catch { /* an empty message still has to be shown */ }
  const options = { body: told.body ?? "", tag: told.tag ?? "contatto", icon: "/static/ui/logo.svg", data: { url: at(told.path) } };
  event.waitUntil(self.registration.showNotification(told.title ?? "Contatto", options));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { url } = event.notification.data;
  event.waitUntil(self.clients.matchAll({ type: "window", includeUncontrolled: true }).then((pages) => {
    const open = pages.find((page) => page.url === url);
    return open ? open.focus() : self.clients.openWindow(url);
  }));
});
