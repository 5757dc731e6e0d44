// Offers the time zone of this device, where none was chosen.
const zone = document.querySelector("[data-own-zone]");
if (zone && !zone.value) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ([...zone.options].some((option) => option.value === own)) zone.value = own;
}
