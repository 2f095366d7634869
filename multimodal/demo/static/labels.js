// Names for screen readers where gradio's components have none: the question's field, the files of a message.
(() => {
  const name_of = (address) => decodeURIComponent(new URL(address, location).pathname.split("/").pop());
  const label = () => {
    document.querySelector("#box textarea:not([aria-label])")?.setAttribute("aria-label", "Your question");
    for (const image of document.querySelectorAll('#chat .message img[alt=""], #chat .message img:not([alt])'))
      image.alt = name_of(image.src);
    for (const media of document.querySelectorAll("#chat .message :is(audio, video):not([aria-label])"))
      media.setAttribute("aria-label", name_of(media.currentSrc || media.src || "file"));
  };
  new MutationObserver(label).observe(document.documentElement, { childList: true, subtree: true });
  label();
})();
